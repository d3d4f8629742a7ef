"""Gates: each color for its own reason, the worst one decides, and nothing is hidden."""

from types import SimpleNamespace

import numpy as np
import pytest
from MAEMCLib.applicability import Limits, gate_of
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.values import ClinicalValues
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.nodule import INPUT, Preprocessing

LIMITS = Limits()


def lung(slice_spacing=1.0, size=80):
    """Lung with a nodule of 16 mm in its middle."""
    affine = np.diag([1.0, 1.0, slice_spacing, 1.0])
    shape = (round(size / slice_spacing), size, size)
    k, j, i = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    middle = (size - 1) / 2
    distance = np.sqrt((i - middle) ** 2 + (j - middle) ** 2 + (k * slice_spacing - middle) ** 2)
    array = np.where(distance < 8, 40, -850).astype(np.int16)
    return CTVolume(array, affine), np.full(3, middle)


def found(volume, point, diameter=16.0):
    card = SimpleNamespace(preprocessing=Preprocessing(), limits=LIMITS, clinical=(), quick=True)
    case = Case("", "", volume, point_lps=point, diameter_mm=diameter)
    return INPUT.prepare(case, card, ClinicalValues()).findings


def test_a_usual_nodule_is_green_and_silent():
    volume, point = lung()
    findings = found(volume, point)
    assert gate_of(findings) == ("green", ()) and findings == ()


def test_unknown_size_is_grey_never_green():
    volume, point = lung()
    findings = found(volume, point, None)
    assert gate_of(findings) == ("grey", ("size-unknown",))


@pytest.mark.parametrize("diameter, color, code", [(4, "amber", "small"), (31, "red", "large"), (7, "green", None)])
def test_size(diameter, color, code):
    volume, point = lung()
    findings = found(volume, point, diameter)
    assert gate_of(findings) == (color, (code,) if code else ())


@pytest.mark.parametrize("spacing, color", [(3.0, "green"), (4.0, "amber"), (6.0, "red")])
def test_slice_spacing(spacing, color):
    volume, point = lung(spacing)
    assert gate_of(found(volume, point))[0] == color


@pytest.mark.parametrize("shift, color", [(0, "green"), (30, "amber"), (38, "red")])
def test_padding(shift, color):
    volume, point = lung(size=80)
    moved = point + (shift, shift, 0)
    array = volume.array.copy()
    array[:, int(moved[1]) - 4 : int(moved[1]) + 4, int(moved[0]) - 4 : int(moved[0]) + 4] = 40
    findings = found(CTVolume(array, volume.affine), moved)
    gate, reasons = gate_of(findings)
    assert gate == color and (color == "green") == ("padded" not in reasons)


def test_point_in_air_and_point_outside_the_lung():
    volume, point = lung()
    assert "point-in-air" in gate_of(found(volume, point + (20, 0, 0)))[1]
    solid = CTVolume(np.full_like(volume.array, 30), volume.affine)
    solid.array[:5] = -1000  # beyond the region
    assert gate_of(found(solid, point)) == ("red", ("no-lung", "unbounded"))


def test_every_finding_is_told_and_the_worst_decides():
    volume, point = lung(4.0)
    findings = found(volume, point, 35)
    assert gate_of(findings) == ("red", ("large",))
    assert [finding.code for finding in findings] == ["thick-slices", "large"]
