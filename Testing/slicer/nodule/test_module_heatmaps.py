"""Where the model looks: maps with what they are worth, measured when the section is opened, and all that it saw."""

import numpy as np
import pytest
from MAEMCLib.explain.explanation import explain
from MAEMCLib.figures.heat_maps import heat_maps


@pytest.fixture
def scored(panel, views, add_ct):
    """A nodule, scored by the real worker; the section is folded."""
    panel.widget.parent.show()
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    return panel


def kept(panel):
    analysis = panel.logic.shownAnalysis()
    return panel.logic.queue.explanations.of((analysis.id, panel.parameters.selectedPoint))


def test_they_are_measured_when_the_section_is_opened_and_no_sooner(scored, predictor):
    panel, ui = scored, scored.ui
    assert kept(panel).maps is None and not ui.mapsLabel.visible
    before = panel.logic.worker.sent
    ui.explanationButton.collapsed = False
    panel.run(0.1)
    assert ui.mapsHintLabel.text.startswith("Measuring") and panel.logic.isBusy()
    panel.settle()
    assert panel.logic.worker.sent == before + 1 and not ui.mapsHintLabel.visible
    assert ui.mapsLabel.visible and ui.seenLabel.visible and "Occlusion: " in ui.explanationLabel.text
    expected = heat_maps(explain(predictor, kept(panel).prepared, measured=True))
    found = kept(panel).maps.maps
    assert [(one.branch, one.kind, one.worth) for one in found] == [
        (one.branch, one.kind, one.worth) for one in expected
    ]
    assert any("deletion" in one.worth and "random" in one.worth for one in found)
    for one, other in zip(found, expected, strict=True):
        if other.heat is not None:
            np.testing.assert_allclose(one.heat, other.heat, atol=1e-6)
    ui.explanationButton.collapsed = True
    panel.settle()
    ui.explanationButton.collapsed = False
    panel.settle()
    assert panel.logic.worker.sent == before + 1, "measured once"


def test_another_result_has_other_maps(scored):
    panel = scored
    panel.ui.explanationButton.collapsed = False
    panel.settle()
    first = kept(panel).maps
    panel.parameters.points.SetNthControlPointPosition(0, 3, 0, 0)
    panel.settle()
    second = kept(panel).maps
    assert second is not None and second is not first
    assert any(not np.array_equal(first.seen[plane], second.seen[plane]) for plane in first.seen)


def test_what_cannot_be_measured_says_why(scored, monkeypatch):
    from MAEMCLib.errors import InputError
    from MAEMCNodulePanel import heatmaps

    def refuse(case, card):
        raise InputError("The image is too large.", "size")

    monkeypatch.setattr(heatmaps, "encode_case", refuse)
    panel = scored
    panel.ui.explanationButton.collapsed = False
    panel.settle()
    assert panel.ui.mapsHintLabel.text == "The image is too large." and not panel.ui.mapsLabel.visible


@pytest.mark.parametrize("width", [320, 600])
@pytest.mark.parametrize("shown", [(10, 12, 14), tuple(range(25))])
def test_pictures_are_as_wide_as_the_panel(scored, width, shown):
    import qt
    from MAEMCLib.figures.heat_maps import HeatMap
    from MAEMCLib.worker.maps import MeasuredMaps
    from MAEMCNodulePanel import heatdrawing

    seen = np.random.default_rng(0).uniform(-1000, 200, (25, 50, 50)).astype(np.float32)
    seen[14] = np.nan
    heat = np.linspace(-1, 1, 49, dtype=np.float32).reshape(7, 7)
    weights = tuple(np.full(len(shown), 1 / len(shown)))
    maps = (
        HeatMap("axial", "rollout", "attention rollout", None, weights, "w"),
        HeatMap("axial", "grad-cam", "Grad-CAM", np.abs(heat), (), "deletion 0.10, random 0.20"),
        HeatMap("axial", "occlusion", "occlusion", heat, (), "deletion 0.10, random 0.20"),
    )
    measured = MeasuredMaps(maps, {"axial": seen}, shown)
    for draw in (heatdrawing.heatMaps, heatdrawing.seenSlices):
        pixmap = draw(measured, width, 2.0, qt.QColor("#202020"))
        assert pixmap.width() == 2 * width and pixmap.height() > 100
