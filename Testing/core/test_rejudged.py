"""An outline that somebody has changed: the row says what it would say, had the nodule been outlined so at once."""

import dataclasses

import numpy as np
import pytest
from MAEMCLib.applicability import Limits, gate_of, size_finding
from MAEMCLib.measures.gates import OUTLINE_CODES, outline_findings
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measured import MeasuredNodule
from MAEMCLib.measures.rejudged import rejudged
from MAEMCLib.results import InputWarning, NoduleResult

from Testing.core.test_gates import insert, lung, paint

THICK = InputWarning("thick-slices", "Slices are 3.5 mm apart; the model knows up to 3 mm.", "amber")
LIMITS = Limits()


@pytest.fixture(scope="module")
def chest():
    """A solid nodule of 10 mm, calcium in its middle, beside a second one."""
    volume, where = lung()
    paint(volume, where, 5.0, 40.0)
    insert(volume, where, 2.0, 600.0)
    paint(volume, where, 4.0, 40.0, (16.0, 0.0, 0.0))
    return volume, where


def outlined(chest, radius, center=(0.0, 0.0, 0.0)):
    volume, where = chest
    mask = NoduleMask.at(np.linalg.norm(where - center, axis=-1) <= radius, volume.affine, center)
    return MeasuredNodule.of(volume, mask, by_network=False)


def row(*warnings, **columns):
    gate, reasons = gate_of(warnings)
    named = tuple(InputWarning(one.code, one.message, one.color) for one in warnings)
    return NoduleResult("N1", (0.0, 0.0, 0.0), "scored", probability=0.7, gate=gate, gate_reasons=reasons,
                        warnings=named, **columns)  # fmt: skip


def test_what_another_outline_says_takes_the_place_of_what_the_first_said(chest):
    first, second = outlined(chest, 5.0), outlined(chest, 17.0)
    before = row(THICK, *outline_findings(chest[0], first, LIMITS))
    assert {"calcium", "several"} <= {one.code for one in before.warnings} <= {"thick-slices", *OUTLINE_CODES}
    after = rejudged(before, second, True, chest[0], LIMITS)
    expected = row(THICK, *outline_findings(chest[0], second, LIMITS))
    assert (after.gate, after.gate_reasons, after.warnings) == (
        expected.gate,
        expected.gate_reasons,
        expected.warnings,
    )
    assert {"large", "subsolid"} <= set(after.gate_reasons)
    assert after.long_axis_mm == second.measures.axes.long_mm and after.composition != "solid"
    back = rejudged(after, first, True, chest[0], LIMITS)
    assert (back.gate, back.gate_reasons, back.warnings) == (before.gate, before.gate_reasons, before.warnings)
    assert back.probability == before.probability and back.snap_l_mm == pytest.approx(0.0, abs=0.5)


def test_a_nodule_that_is_rid_of_its_reason_is_green_again(chest):
    volume, _where = chest
    bare = outlined(chest, 4.0, (16.0, 0.0, 0.0))
    after = rejudged(row(*outline_findings(volume, outlined(chest, 5.0), LIMITS)), bare, True, volume, LIMITS)
    assert "calcium" not in after.gate_reasons and after.gate != "red"


def test_without_an_outline_nothing_is_measured_and_the_size_is_unknown(chest):
    before = row(*outline_findings(chest[0], outlined(chest, 5.0), LIMITS), long_axis_mm=10.0, snap_l_mm=1.0)
    after = rejudged(before, None, False, chest[0], LIMITS)
    assert (after.gate, after.gate_reasons) == ("grey", (size_finding(None, LIMITS).code,))
    assert after.long_axis_mm is after.snap_l_mm is after.composition is None


def test_where_no_nodule_lies_the_network_s_outline_says_nothing_and_a_reader_s_does(chest):
    before, nodule = row(THICK, nodule_present=0.1), outlined(chest, 5.0)
    by_network = rejudged(before, nodule, False, chest[0], LIMITS)
    assert {one.code for one in by_network.warnings} == {"thick-slices", "size-unknown"}
    assert by_network.long_axis_mm == nodule.measures.axes.long_mm
    assert "calcium" in rejudged(before, nodule, True, chest[0], LIMITS).gate_reasons


def test_of_a_model_that_is_not_here_nothing_is_judged_and_that_is_said(chest):
    nodule = outlined(chest, 5.0)
    after = rejudged(row(THICK), nodule, True, chest[0], None)
    assert (after.gate, {one.code for one in after.warnings}) == ("amber", {"thick-slices", "outline-unjudged"})
    assert "calcium" in rejudged(after, nodule, True, chest[0], LIMITS).gate_reasons, "when it is here again"


@pytest.mark.parametrize(("reasons", "gate"), [(("thick-slices",), "red"), (("calcium",), "amber")])
def test_a_warning_kept_without_its_color_is_never_taken_for_less_than_caution(chest, reasons, gate):
    old = (dataclasses.replace(THICK, color=None), InputWarning("calcium", "It holds calcium."))
    before = dataclasses.replace(row(), gate="red", gate_reasons=reasons, warnings=old)
    bare = outlined(chest, 4.0, (16.0, 0.0, 0.0))
    limits = dataclasses.replace(LIMITS, subsolid_known=True)
    assert rejudged(before, bare, True, chest[0], limits).gate == gate
