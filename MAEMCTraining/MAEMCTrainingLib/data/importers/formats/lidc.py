"""Importer of LIDC-IDRI as TCIA ships it: CT series in DICOM, and the readings of up to four radiologists in XML files
that lie among them or in a folder of their own."""

import math
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import file_sha256

from ..dicom_tree import Tree, TreeSeries, scan
from ..imported import Imported, Importer, below, label_of_median
from ..lidc_nodules import nodules, outline
from ..lidc_xml import Reading, read_lidc_xml


def import_lidc(source: Path, unpacked: Path) -> Imported:
    """A row a nodule of 3 mm or more: consensus center and longest axial diameter, label by the readers' median rating.

    A reading finds its series by SeriesInstanceUid. Raises InputError: no such folder, no DICOM, no XML.
    """
    tree, found = scan(source), Imported()
    readings = _readings(tree.folder, found)
    series_by_uid = _by_uid(tree)
    for name, reading in readings.items():
        series = series_by_uid.get(reading.series_uid)
        if series is None:
            found.skip(name, "its series (SeriesInstanceUid) is not among the DICOM files")
            continue
        try:
            found.extend(_nodules(tree, series, reading, name))
        except InputError as error:
            found.skip(name, f"its series {tree.name(series)} cannot be used: {error}")
    read = {reading.series_uid for reading in readings.values()}
    for series in tree.series:
        if series.stack.uid not in read:
            found.skip(tree.name(series), series.stack.problem or "no XML file has a reading of it")
    found.skipped += tree.skipped
    return found


IMPORTER = Importer(import_lidc, "LIDC-IDRI as TCIA ships it", needs=("scipy",))


def _by_uid(tree: Tree) -> dict[str, TreeSeries]:
    """The series that a reading names; of several stacks under one UID the largest that can be used."""
    ordered = sorted(tree.series, key=lambda series: (series.stack.problem is None, len(series.stack.slices)))
    return {series.stack.uid: series for series in ordered}


def _readings(folder: Path, found: Imported) -> dict[str, Reading]:
    """Readings by the name of their file. A series is taken from one file: TCIA ships the readings twice, with the
    images and by themselves, and the readers must not be counted twice."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".xml" and path.is_file())
    if not files:
        raise InputError(
            f"{folder} holds no XML file. The readings belong to LIDC-IDRI; where they were downloaded by themselves, "
            "put them into a folder below this one.",
            "no-readings",
        )
    readings: dict[str, Reading] = {}
    first: dict[str, Path] = {}
    for path in files:
        name = below(path, folder)
        with found.skipping(name):
            reading = read_lidc_xml(path, name)
            before = first.setdefault(reading.series_uid, path)
            if before is not path:
                same = file_sha256(path) == file_sha256(before)
                what = "the same reading as" if same else "another reading of the CT of"
                raise InputError(f"{what} {below(before, folder)}, which was taken", "lidc-twice")
            readings[name] = reading
    return readings


def _nodules(tree: Tree, series: TreeSeries, reading: Reading, name: str) -> Imported:
    if series.grid.absent:  # a reader's outline may be on one of them
        raise InputError(series.grid.gaps(), "dicom-missing-slices")
    slices = {item.header.text("SOPInstanceUID"): k for k, item in enumerate(series.grid.slices)}
    found, outlined = Imported(skipped=list(reading.skipped)), []
    for mark in reading.marks:
        with found.skipping(f"{name}, reader {mark.reader}, nodule {mark.nodule_id}"):
            outlined.append(outline(mark, series, slices))
    image = tree.image(series)
    thickness = series.header.number("SliceThickness")
    for number, nodule in enumerate(nodules(outlined, series), 1):
        row = Case(
            case_id=f"{series.patient} {series.uid} nodule {number}",
            patient_id=series.patient,
            image=image,
            label=label_of_median(nodule.malignancy),
            diameter_mm=nodule.diameter_mm,
            point_lps=nodule.center_lps,
            values={
                "modality": "CT",
                "anatomy": "CHEST",
                "readers": str(nodule.readers),
                "malignancy_median": f"{nodule.malignancy:g}",
                "slice_thickness_mm": f"{thickness:g}" if math.isfinite(thickness) else "",
            },
        )
        found.add(row)
    if not reading.marks:
        found.skip(name, "no reader rated a nodule of 3 mm or more in it")
    return found
