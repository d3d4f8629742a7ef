"""The report page and the pictures: what is written in them, and that nothing in them comes from elsewhere."""

import re
from dataclasses import replace

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.explain.explanation import explain
from MAEMCLib.figures.explained_nodule import nodule_figure
from MAEMCLib.figures.nodule import save_figure
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.report.formats import write_report
from MAEMCLib.report.nodule_page import NodulePage
from MAEMCLib.report.scores import results_table, score_report
from MAEMCLib.report.sections import Figure
from MAEMCLib.scoring import CaseScorer


@pytest.fixture(scope="module")
def scored(random_bundle):
    """Two nodules, one with a name that is HTML, and one outside the volume."""
    array = np.random.default_rng(0).integers(-1000, 300, (60, 60, 60)).astype(np.int16)
    names = [("<script>alert(1)</script>", (30, 30, 30)), ("N ü & co", (28, 30, 31)), ("away", (400, 0, 0))]
    predictor = Predictor(ModelBundle.open(random_bundle), "cpu")
    volume = CTVolume(array, np.eye(4), "ct")
    cases = [Case("", "", volume, point_lps=point, nodule_id=name) for name, point in names]
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        rows = [(one.result, one.prepared) for one in scorer.score(cases)]
    return predictor, rows


def figure_of(result, prepared, predictor):
    stacks = {"axial": prepared.region.axial, "coronal": prepared.region.coronal}
    return nodule_figure(result, stacks, explain(predictor, prepared))


def test_page_is_self_contained_and_escaped(scored, tmp_path):
    predictor, rows = scored
    figure = tmp_path / "f.png"
    result, prepared = rows[0]
    save_figure(figure_of(result, prepared, predictor), figure)
    explained = [Figure(figure.read_bytes(), "figure")]
    pages = [NodulePage(result, explained=explained), NodulePage(rows[1][0]), NodulePage(rows[2][0])]
    write_report(score_report(pages, predictor.card), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "N ü &amp; co" in page
    assert "not for clinical use" in page and "not calibrated" in page
    assert "not scored: The point" in page
    sources = re.findall(r"(?:src|href)='([^']*)", page) + re.findall(r'(?:src|href)="([^"]*)', page)
    assert len(sources) == 3 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert predictor.card.sha256 in page


def test_figure_names_planes_sides_and_values(scored):
    predictor, rows = scored
    result, prepared = rows[1]
    figure = figure_of(result, prepared, predictor)
    texts = {text.get_text() for axis in figure.axes for text in axis.texts}
    assert {"A", "P", "R", "L", "S", "I"} <= texts
    assert f"{result.probability:.2f}" in figure.get_suptitle()
    assert "not for clinical use" in figure.get_supxlabel()
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, prepared.region.axial[12])
    assert figure.axes[0].images[0].get_clim() == (-1200, 200)


def test_table_states_failures_and_limits(scored):
    predictor, rows = scored
    text = results_table([result for result, _ in rows], predictor.card)
    assert "failed" in text and "Research only, not for clinical use." in text
    assert f"{rows[0][0].probability:.3f}" in text


def test_a_page_loads_and_runs_nothing_and_turns_no_letters_round(scored, tmp_path):
    predictor, rows = scored
    named = replace(rows[1][0], nodule_id="N\u202e1\x1b[2J")
    write_report(score_report([NodulePage(named)], predictor.card), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page and "default-src 'none'" in page
    assert "\u202e" not in page and "\x1b" not in page and "N\\u202e1\\u001b[2J" in page


def test_names_are_no_mathematics(scored, tmp_path):
    """Matplotlib reads what stands between dollars as TeX, and fails where it is none."""
    result = replace(scored[1][1][0], nodule_id="a $\\frac$ b")
    figure = figure_of(result, scored[1][1][1], scored[0])
    save_figure(figure, tmp_path / "f.png")
    assert (tmp_path / "f.png").exists()


def test_a_table_keeps_a_line_a_nodule_and_says_the_disclaimer_once(scored):
    predictor, rows = scored
    card = replace(predictor.card, intended_use="Teaching, not for clinical use. It is no diagnosis.")
    text = results_table([replace(rows[1][0], nodule_id="one\ntwo\u2028three")], card)
    assert "one\\u000atwo\\u2028three  " in text and text.count("not for clinical use") == 1
    assert "It is no diagnosis." in text
