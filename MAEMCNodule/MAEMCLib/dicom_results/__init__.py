"""A scored nodule as DICOM, in the study of its CT: segmentation, structured report, secondary capture."""
