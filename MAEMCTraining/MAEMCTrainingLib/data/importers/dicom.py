"""Importer of any tree of DICOM files: the table of its CT series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.manifest import ManifestRow
from MAEMCLib.roi import SLICES

from .dicom_tree import Tree, TreeSeries, plain, scan
from .imported import Imported, Skipped, below, imported

SMALLEST_EXTENT_MM = float(SLICES)
"""A series has to reach over the height of one region's axial slices, or every region in it is mostly padding."""
NO_CONTRAST = {"", "NO", "NONE", "N", "NATIVE", "UNENHANCED", "WITHOUT"}


def import_dicom(source: Path, unpacked: Path) -> Imported:
    """A row a usable CT series: kind ``image`` (the point of a nodule is still to be given), with what scanners say of
    modality, anatomy, slices, kernel and contrast. Every other series is skipped with its reason.

    The image is the series' folder, or its first slice where another series could be taken for it. Raises InputError:
    no such folder, no DICOM.
    """
    tree = scan(source)
    rows, skipped = [], list(tree.skipped)
    for series in tree.series:
        try:
            rows.append(_row(tree, series))
        except InputError as error:
            skipped.append(Skipped(tree.name(series), str(error)))
    if tree.foreign:
        first = below(tree.foreign[0], tree.folder)
        skipped.append(Skipped(f"{len(tree.foreign)} files", f"not DICOM; the first is {first}"))
    return imported(rows, skipped)


def _row(tree: Tree, series: TreeSeries) -> ManifestRow:
    header, step = series.header, float(np.linalg.norm(series.affine[:3, 2]))
    slices = len(series.ordered)
    if slices * step < SMALLEST_EXTENT_MM:
        raise InputError(
            f"its {slices} slices reach over {slices * step:.1f} mm; a region needs {SMALLEST_EXTENT_MM:g} mm", "dicom"
        )
    thickness = header.get("SliceThickness")
    contrast = plain(header.get("ContrastBolusAgent", ""))
    return ManifestRow(
        case_id=series.uid,
        patient_id=series.patient,
        image=tree.image(series),
        kind="image",
        extra={
            "modality": header.Modality,
            "anatomy": plain(header.get("BodyPartExamined", "")).upper(),
            "slices": str(slices),
            "slice_step_mm": f"{step:.4g}",
            "slice_thickness_mm": "" if thickness is None else f"{thickness:.4g}",
            "kernel": plain(header.get("ConvolutionKernel", "")),
            # The agent's own text is written by hand, so only whether there is one is taken over.
            "contrast": "" if contrast.upper() in NO_CONTRAST else "yes",
        },
    )
