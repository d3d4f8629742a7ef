"""``maemc growth``: one nodule in a prior and in the current CT, and what has become of it."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cases.points import parse_point
from ..errors import UsageError
from ..figures.growth import growth_figure
from ..figures.nodule import save_figure
from ..files.atomic import make_folder, write_json
from ..images.ct import CTVolume
from ..images.files import NIFTI_FORMS
from ..images.reading_process import ReadingProcess
from ..measures.growth import Growth, growth, interval
from ..measures.measured import MeasuredNodule
from ..measures.measures import Measures
from ..measures.prior import proposals, to_prior
from ..measures.view import PlaneView, place_of, plane_views
from ..report.formats import render
from ..report.sections import Notes, Report, Section, Table
from ..results import DISCLAIMER
from .measure import nodule_at


@dataclass(frozen=True)
class Measured:
    """A nodule of one CT, and the CT."""

    volume: CTVolume
    nodule: MeasuredNodule

    @property
    def measures(self) -> Measures:
        return self.nodule.measures

    @property
    def center_lps(self) -> np.ndarray:
        return self.nodule.mask.center_lps

    def views(self) -> dict[str, PlaneView]:
        mask, axes = self.nodule.mask, self.measures.axes
        return plane_views(self.volume, place_of(mask, axes), mask, axes)


def add_options(command: ArgumentParser) -> None:
    """What the command asks for."""
    command.add_argument("prior", help="the earlier CT as NRRD, NIfTI, MetaImage or a folder of DICOM files")
    command.add_argument("current", help="the later CT")
    command.add_argument("--point", required=True, metavar="L,P,S", help="the nodule in the current CT, mm")
    command.add_argument(
        "--prior-point",
        metavar="L,P,S",
        help="the nodule in the prior CT; may be left out where both CTs share a frame of reference",
    )
    command.add_argument("--ras", action="store_true", help="the positions given are RAS instead of LPS")
    command.add_argument("--segment", metavar="FILE", help="its mask in the current CT; else the network's outline")
    command.add_argument("--prior-segment", metavar="FILE", help="its mask in the prior CT")
    command.add_argument("--days", type=float, metavar="N", help="days between the CTs (default: by their DICOM dates)")
    command.add_argument("--same-patient", action="store_true", help="both are of one patient, whatever the files say")
    command.add_argument("--series", metavar="UID[#N]", help="series of the current DICOM folder, if it holds several")
    command.add_argument("--prior-series", metavar="UID[#N]", help="the same of the prior one")
    command.add_argument(
        "--nifti-form", choices=NIFTI_FORMS, help="the geometry to use of a NIfTI file whose two disagree"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument("--output", metavar="DIR", help="also write growth.json and growth.png there")


def growth_command(arguments: Namespace) -> int:
    """The command."""
    point = parse_point(arguments.point, arguments.ras)
    prior_point = None if arguments.prior_point is None else parse_point(arguments.prior_point, arguments.ras)
    if (arguments.segment is None) is not (arguments.prior_segment is None):
        raise UsageError(
            "A mask was given for one of the two CTs. Give both (--segment FILE, --prior-segment FILE) or none: a "
            "change means something where both nodules were outlined alike."
        )
    folder = None if arguments.output is None else Path(arguments.output)
    if folder is not None:
        make_folder(folder)
    with ReadingProcess() as reader:
        before = reader.read(arguments.prior, arguments.prior_series, arguments.nifti_form)
        now = reader.read(arguments.current, arguments.series, arguments.nifti_form)
        between = interval(before, now, arguments.days, arguments.same_patient)
        current = _measured(now, point, reader, arguments.segment)
        prior = _prior(before, now, current, prior_point, reader, arguments.prior_segment)
    found = growth(prior.measures, current.measures, between)
    document = {
        "schema": 1,
        "disclaimer": DISCLAIMER,
        "prior": _values(prior),
        "current": _values(current),
        "growth": found.to_json(),
    }
    if folder is not None:
        save_figure(growth_figure(prior.views(), current.views(), found), folder / "growth.png")
        write_json(folder / "growth.json", document)
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    elif not arguments.quiet:
        print(render(_report(prior.measures, current.measures, found), "txt"))
        if folder is not None:
            print(f"Written to {folder}")
    return 0


def _measured(volume: CTVolume, point: Sequence[float], reader: ReadingProcess, segment: str | None) -> Measured:
    return Measured(volume, nodule_at(volume, point, reader, segment))


def _prior(
    before: CTVolume,
    now: CTVolume,
    current: Measured,
    point: Sequence[float] | None,
    reader: ReadingProcess,
    segment: str | None,
) -> Measured:
    """The prior's nodule: at its point, or the one that its position proposes."""
    if point is not None:
        return _measured(before, point, reader, segment)
    matrix = to_prior(before, now)
    if matrix is None:
        raise UsageError(
            "Where the nodule lies in the prior CT is not known: the two CTs have no common frame of reference. Add "
            "--prior-point L,P,S."
        )
    expected = matrix[:3, :3] @ current.center_lps + matrix[:3, 3]
    found = _measured(before, expected, reader, segment)
    if not proposals({"N1": current.center_lps}, {"prior": found.center_lps}, matrix):
        raise UsageError("No nodule of the prior CT lies where the current one does. Add --prior-point L,P,S.")
    return found


def _values(nodule: Measured) -> dict[str, Any]:
    return {"center_lps": nodule.center_lps.tolist(), **nodule.nodule.columns()}


def _report(prior: Measures, current: Measures, found: Growth) -> Report:
    def row(name: str, before: float, now: float, unit: str, digits: int = 1) -> tuple[str, str, str, str]:
        before, now = round(before, digits), round(now, digits)  # so that the change is that of what is shown
        texts = (f"{value:.{digits}f} {unit}" for value in (before, now))
        return (name, *texts, f"{now - before:+.{digits}f} {unit}")

    rows = [
        row("Long axis", prior.axes.long_mm, current.axes.long_mm, "mm"),
        row("Short axis", prior.axes.short_mm, current.axes.short_mm, "mm"),
        row("Mean diameter", *found.mean_diameters_mm, "mm"),
        row("Volume", *found.volumes_mm3, "mm3", 0),
        row("Attenuation", prior.mean_hu, current.mean_hu, "HU", 0),
        ("Composition", prior.composition, current.composition, ""),
    ]
    facts = [
        ("Days between", f"{found.days:g}"),
        ("Volume change", f"{found.volume_change_percent:+.0f} %" + ", within measurement error" * found.within_error),
        ("Doubling time", _doubling(found)),
        ("BTS 2015", f"{found.category}: {found.recommendation}"),
        ("For the report", found.sentence),
    ]
    notes = [Section("", [Notes(found.notes)])] if found.notes else []
    table = Table(rows, ("", "prior", "current", "change"))
    return Report("Growth of a nodule", [Section("", [table]), Section("", [Table(facts)]), *notes])


def _doubling(found: Growth) -> str:
    """``154 days (99 to 342 with an error of 25 % of volume)``; where the volume may have grown by that error alone,
    from how many days on."""
    days, low, high = found.doubling_time_days, found.doubling_time_low_days, found.doubling_time_high_days
    if low is None:
        return "-"
    upper = f"{low:.0f} days or longer" if high is None else f"{low:.0f} to {high:.0f}"
    return f"{'-' if days is None else f'{days:.0f} days'} ({upper} with an error of 25 % of volume)"
