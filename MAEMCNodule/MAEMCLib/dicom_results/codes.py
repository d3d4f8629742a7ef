"""The coded concepts of a nodule (SNOMED CT, DCM, LOINC, UCUM), as DICOM PS3.16 has them in TID 1410, 1411 and 1500."""

from __future__ import annotations

from pydicom.sr.coding import Code

LUNG_NODULE = Code("786838002", "SCT", "Nodule of lung")
LUNG = Code("39607008", "SCT", "Lung")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
PROCEDURE = Code("25045-6", "LN", "CT unspecified body region")
LANGUAGE = Code("en", "RFC5646", "English")
DEVICE = Code("121007", "DCM", "Device")
PERSON = Code("121006", "DCM", "Person")

PROBABILITY_OF_CANCER = Code("111047", "DCM", "Probability of cancer")
CERTAINTY_OF_FINDING = Code("111012", "DCM", "Certainty of Finding")
RESULTS = {"diagnosis": PROBABILITY_OF_CANCER, "rating": CERTAINTY_OF_FINDING}
"""How a model's number is called, by the label type of its card: readers' opinion is never a probability of cancer."""

LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
DIAMETER = Code("81827009", "SCT", "Diameter")
VOLUME = Code("118565006", "SCT", "Volume")
ATTENUATION = Code("112181", "DCM", "Mean Attenuation Coefficient")
MEAN = Code("373098007", "SCT", "Mean")
VOXELS_SUMMED = Code("126030", "DCM", "Sum of segmented voxel method for volume")

PERCENT = Code("%", "UCUM", "Percent")
MILLIMETER = Code("mm", "UCUM", "mm")
CUBIC_MILLIMETER = Code("mm3", "UCUM", "cubic millimeter")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")

NETWORK = Code("123110", "DCM", "Artificial Intelligence")
CONNECTED_PARTS = Code("123104", "DCM", "Morphological Operations")
