"""``maemc measure``: a nodule's outline and size, without a score."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from ..cases.points import parse_point
from ..errors import InputError
from ..files.atomic import make_folder
from ..images.ct import CTVolume, check_ct
from ..images.files import NIFTI_FORMS, write_volume
from ..images.reading_process import ReadingProcess
from ..images.sampling import check_point
from ..machine.installation import check_torch
from ..measures.field import NEAR_MM, field_about
from ..measures.measured import MeasuredNodule, measured
from ..measures.measures import measure
from ..measures.segment import check_near, mask_near
from ..report.formats import render
from ..report.measures import measure_rows
from ..report.sections import Report, Section, Table
from ..results import DISCLAIMER

NAME = "N1"


def add_options(command: ArgumentParser) -> None:
    """What the command asks for."""
    command.add_argument("image", help="CT as NRRD, NIfTI, MetaImage or a folder of DICOM files")
    command.add_argument("--point", required=True, metavar="L,P,S", help="the nodule's position in mm")
    command.add_argument("--ras", action="store_true", help="the position is RAS instead of LPS")
    command.add_argument("--segment", metavar="FILE", help="its mask, measured instead of what the network outlines")
    command.add_argument("--series", metavar="UID[#N]", help="series of a DICOM folder that holds several")
    command.add_argument(
        "--nifti-form", choices=NIFTI_FORMS, help="the geometry to use of a NIfTI file whose two disagree"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument("--output", metavar="DIR", help=f"also write {NAME}_mask.nrrd there, on the CT's own grid")


def measure_command(arguments: Namespace) -> int:
    """The command."""
    point = parse_point(arguments.point, arguments.ras)
    folder = None if arguments.output is None else Path(arguments.output)
    if folder is not None:
        make_folder(folder)
    with ReadingProcess() as reader:
        volume = reader.read(arguments.image, arguments.series, arguments.nifti_form)
        nodule = nodule_at(volume, point, reader, arguments.segment)
    if folder is not None:
        write_volume(CTVolume(nodule.on(volume), volume.affine), folder / f"{NAME}_mask.nrrd")
    if arguments.json:
        row = {"nodule_id": NAME, "point_lps": list(point), **nodule.columns()}
        document = {"schema": 1, "disclaimer": DISCLAIMER, "nodules": [row]}
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    elif not arguments.quiet:
        print(render(Report("Size of a nodule", [Section("", [Table(measure_rows(nodule.columns()))])]), "txt"))
        if folder is not None:
            print(f"Written to {folder}")
    return 0


def nodule_at(volume: CTVolume, point: Sequence[float], reader: ReadingProcess, segment: str | None) -> MeasuredNodule:
    """The nodule at a point (LPS mm) of a CT: what the network outlines there, or a segment in a file.

    Raises InputError: no CT, a point outside of it, nothing to outline, what ``measures.segment`` raises.
    """
    check_ct(volume)
    if segment is not None:
        mask = check_near(mask_near(reader.read(segment), check_point(volume, point)))
        return MeasuredNodule(mask, measure(volume, mask))
    check_torch()
    from ..measures.outline import shipped_outliner

    field = field_about(volume, point)
    found = measured(field, shipped_outliner().logits(field.planes, field.first_mm, field.step_mm))
    if found is None:
        raise InputError(
            f"The network outlines no nodule within {NEAR_MM:g} mm of the point. Check the point and whether it is "
            "given in RAS, or bring a mask of the nodule (--segment FILE).",
            "no-outline",
        )
    return found
