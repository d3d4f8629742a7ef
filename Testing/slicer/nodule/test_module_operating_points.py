"""Operating points in the panel; prevalence, PPV and NPV of models that were trained on diagnoses, and of no others."""

import json
import shutil
import zipfile

import pytest
from MAEMCLib.models.bundle import CARD, read_card
from MAEMCLib.models.operating_points import operating_points
from MAEMCLib.models.prevalence import adjusted, predictive_values
from MAEMCLib.review.observer import Observer, store_observer

THRESHOLDS = {"rule_out": 0.12, "balanced": 0.41, "rule_in": 0.77}
RATES = {"rule_out": (0.97, 0.41), "balanced": (0.85, 0.80), "rule_in": (0.52, 0.96)}


def rate(value, n):
    half = 1.96 * (value * (1 - value) / n) ** 0.5
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def write_model(source, path, label_type):
    """A bundle with operating points: another one's weights under another card."""
    points = {
        name: {
            "threshold": THRESHOLDS[name],
            "counts": {"tp": 1, "fp": 1, "tn": 1, "fn": 1},
            "metrics": {"sensitivity": rate(RATES[name][0], 80), "specificity": rate(RATES[name][1], 70)},
        }
        for name in THRESHOLDS
    }
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == CARD:
                card = json.loads(content)
                card |= {"id": label_type, "label_type": label_type, "operating_points": points}
                card |= {"thresholds": THRESHOLDS, "classes": ["benign", "malignant"], "positive_class": "malignant"}
                if label_type == "rating":
                    card |= {"classes": ["benign-like", "malignant-like"], "positive_class": "malignant-like"}
                card["training"] = {**card.get("training", {}), "prior_in_probability": 0.685}
                content = json.dumps(card).encode()
            after.writestr(name, content)


@pytest.fixture
def models(tmp_path, random_bundle, monkeypatch):
    """A home with a model of diagnoses, one of ratings, and one without operating points."""
    from MAEMCLib.models import store as model_store

    (tmp_path / "models").mkdir()
    shutil.copy(random_bundle, tmp_path / "models" / "random.maemc")
    for label_type in ("diagnosis", "rating"):
        write_model(random_bundle, tmp_path / "models" / f"{label_type}.maemc", label_type)
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    return tmp_path


@pytest.fixture
def scored(instant_panel, views, add_ct):
    """``scored(model)``: a nodule scored by it, the section unfolded."""

    def score(model):
        instant_panel.widget.parent.show()
        instant_panel.parameters.model = model
        add_ct()
        instant_panel.settle()
        instant_panel.place((0, 0, 0))
        instant_panel.settle()
        instant_panel.ui.operatingPointsButton.collapsed = False
        instant_panel.run(0.2)
        return instant_panel

    return score


def cells(panel):
    labels = [one for one in panel.ui.operatingPointsFrame.findChildren("QLabel") if one.visible]
    return [one.text for one in labels]


def rate_text(rate):
    return f"{100 * rate.value:.0f}\n({100 * rate.low:.0f}\N{EN DASH}{100 * rate.high:.0f})"


def test_of_diagnoses_ppv_and_npv_follow_the_slider(scored, models):
    panel = scored("diagnosis@1.0")
    card = read_card(models / "models" / "diagnosis.maemc")
    ui, probability = panel.ui, panel.records()[0].result["probability"]
    assert ui.prevalenceSlider.visible and ui.prevalenceSlider.value == pytest.approx(68, abs=1)
    for percent in (5, 23, 90):
        ui.prevalenceSlider.value = percent
        panel.run(0.2)
        shown = cells(panel)
        for point in operating_points(card):
            values = predictive_values(card, point, percent / 100)
            for one in (point.sensitivity, point.specificity, values.ppv, values.npv):
                assert rate_text(one) in shown, (point.name, percent)
        assert f"{adjusted(card, probability, percent / 100):.2f}" in ui.adjustedLabel.text
        assert f"At a prevalence of {percent} %" in ui.adjustedLabel.text
    store_observer(models, Observer("Doe^Jane", "General Hospital"))
    panel.widget.reviewSection.acceptButton.click()
    entry = json.loads((models / "audit.jsonl").read_text().splitlines()[-1])
    assert entry["event"] == "decided" and entry["prevalence"] == pytest.approx(0.9)


def test_of_ratings_there_is_no_prevalence_ppv_or_npv(scored, models):
    panel = scored("rating@1.0")
    ui, text = panel.ui, " ".join(cells(panel))
    assert not ui.prevalenceSlider.visible and not ui.prevalenceLabel.visible and not ui.adjustedLabel.visible
    assert "PPV" not in text and "NPV" not in text and "revalence" not in ui.operatingPointsButton.text
    assert "85 (77\N{EN DASH}93)" in cells(panel), "its rates are there"
    assert "readers rate" in ui.ratesLabel.text
    panel.parameters.prevalence = 0.2  # chosen for another model, before
    store_observer(models, Observer("Doe^Jane", "General Hospital"))
    panel.widget.reviewSection.acceptButton.click()
    assert json.loads((models / "audit.jsonl").read_text().splitlines()[-1])["prevalence"] is None


def test_a_model_without_operating_points_has_no_such_part(scored):
    assert not scored("random@1.0").ui.operatingPointsButton.visible


def test_a_hidden_number_is_not_adjusted_for_all_to_see(scored):
    panel = scored("diagnosis@1.0")
    panel.logic.reviewing.readerFirst = True
    panel.place((20, 0, 0), panel.parameters.points)
    panel.settle()
    number = f"{panel.records()[1].result['probability']:.2f}"
    assert panel.ui.adjustedLabel.text == "" and number not in " ".join(cells(panel))
