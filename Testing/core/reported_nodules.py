"""A nodule of a small DICOM series with everything that its DICOM results need, written and read back."""

from dataclasses import fields, replace

import highdicom as hd
import numpy as np
from MAEMCLib.dicom_results.nodule import Outline, ReportedNodule
from MAEMCLib.dicom_results.source import read_source
from MAEMCLib.dicom_results.writing import write_nodule
from MAEMCLib.images.files import read_volume
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measures import measure
from MAEMCLib.models.card import ModelCard
from MAEMCLib.results import NoduleResult


def diagnosis_card(values):
    """The card of a model of diagnoses with one member; values: the rest of its card."""
    files = {"one.safetensors": {"sha256": "ab" * 32, "bytes": 9}}
    training = {"prevalence": 0.685, "prior_in_probability": 0.5}
    members = [{"file": "one.safetensors", "role": "classifier"}]
    return card_of({**values, "files": files, "members": members, "training": training, "label_type": "diagnosis"})


def card_of(values, sha256="cd" * 32):
    """The card of these values, unchecked."""
    known = {one.name: values[one.name] for one in fields(ModelCard) if one.name in values}
    return ModelCard(values, sha256, **known)


def box_nodule(card, volume, box=(slice(2, 6), slice(4, 9), slice(3, 11)), **changes):
    """Of a volume, with the voxels of a box but one for its mask. changes: of its result."""
    array = np.zeros(volume.array.shape, bool)
    array[box] = True
    array[box][0, 0, 0] = False
    point = volume.to_lps(np.argwhere(array).mean(axis=0)[::-1])
    mask = NoduleMask.at(array, volume.affine, point)
    result = NoduleResult("N1", tuple(point.tolist()), "scored", probability=0.123456, threshold=0.41)
    result = replace(result, gate="amber", gate_reasons=("large",), input_sha256="ef" * 32, class_name="benign-like")
    outline = Outline(mask, measure(volume, mask), "Segment given as a file", "0.1", parameters=("hash: 1",))
    return ReportedNodule(replace(result, **changes), card, 1, outline)


def written(folder, path, made):
    """The series at a path with its nodule's results: the source, and the folder they were written to."""
    volume = read_volume(path)
    source, found = read_source(path), made(volume)
    return source, found, write_nodule(folder, "N1", source, found, volume)


def groups(report):
    content = hd.sr.srread(report).content
    point, *segments = content.get_planar_roi_measurement_groups(), *content.get_volumetric_roi_measurement_groups()
    return point[0], segments


def numbers(group):
    return {one.name.value: (one.value, one.unit.value) for one in group.get_measurements()}
