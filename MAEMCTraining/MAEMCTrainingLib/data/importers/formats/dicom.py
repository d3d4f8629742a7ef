"""Importer of any tree of DICOM files: the table of its CT series."""

import math
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.image import kind_of
from MAEMCLib.inputs.region import SLICES

from ..dicom_tree import Tree, TreeSeries, plain, scan
from ..imported import Imported, Importer, below

SMALLEST_EXTENT_MM = float(SLICES)
"""A series has to reach over the height of one region's axial slices, or every region in it is mostly padding."""
_REMARKED = "dicom-left-out", "dicom-rescale-type", "dicom-no-rescale"
"""Remarks on a series that no column of the table shows."""
NO_CONTRAST = {"", "NO", "NONE", "N", "NATIVE", "UNENHANCED", "WITHOUT"}


def import_dicom(source: Path, unpacked: Path) -> Imported:
    """A row a usable CT series: kind ``image`` (the point of a nodule is still to be given), with what scanners say of
    modality, anatomy, slices, kernel and contrast, whether the images are original, derived or reformatted
    (``image_type``; projections such as MIPs are skipped), and how many slices are missing in between. Every other
    series is skipped with its reason, and remarks name what was left out of a series or assumed of its values.

    The image is the series' folder, or its first slice where another series could be taken for it. Raises InputError:
    no such folder, no DICOM.
    """
    tree = scan(source)
    found = Imported(skipped=list(tree.skipped))
    for series in tree.series:
        name = tree.name(series)
        with found.skipping(name):
            found.add(_row(tree, series))
            found.remarks += [f"{name}: {noted.message}" for noted in series.stack.remarks if noted.code in _REMARKED]
    if tree.foreign:
        found.skip(f"{len(tree.foreign)} files", f"not DICOM; the first is {below(tree.foreign[0], tree.folder)}")
    return found


IMPORTER = Importer(import_dicom, "the CT series of any tree of DICOM files")


def _row(tree: Tree, series: TreeSeries) -> Case:
    grid, header = series.grid, series.header
    height = grid.depth * grid.step_mm
    if height < SMALLEST_EXTENT_MM:
        raise InputError(
            f"its {grid.depth} slices reach over {height:.1f} mm; a region needs {SMALLEST_EXTENT_MM:g} mm", "dicom"
        )
    thickness = header.number("SliceThickness")
    contrast = plain(header.text("ContrastBolusAgent"))
    return Case(
        case_id=series.uid,
        patient_id=series.patient,
        image=tree.image(series),
        kind="image",
        values={
            "modality": header.text("Modality"),
            "anatomy": plain(header.text("BodyPartExamined")).upper(),
            "slices": str(grid.depth),
            "slice_step_mm": f"{grid.step_mm:.4g}",
            "slice_thickness_mm": f"{thickness:.4g}" if math.isfinite(thickness) else "",
            "kernel": plain(header.text("ConvolutionKernel")),
            # The agent's own text is written by hand, so only whether there is one is taken over.
            "contrast": "" if contrast.upper() in NO_CONTRAST else "yes",
            "image_type": kind_of(header),
            "missing_slices": str(len(grid.absent)),
        },
    )
