"""DICOM series and single images, every used tag proven."""
