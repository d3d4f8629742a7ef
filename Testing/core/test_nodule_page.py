"""A nodule's page: what stands on it, what it says where something is not known, and its way through the worker."""

import io
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.measures import measure
from MAEMCLib.measures.segment import mask_near
from MAEMCLib.measures.view import place_of, plane_views
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.report.formats import render
from MAEMCLib.report.nodule_page import NodulePage, planes_part
from MAEMCLib.report.scores import score_report
from MAEMCLib.results import MEASURES
from MAEMCLib.scoring import CaseScorer
from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.reports import Reports, decode_page, encode_page
from matplotlib.image import imread
from pypdf import PdfReader

GIVEN = {"setting": "incidental", "age": 65, "sex": "female", "risk": "high", "long_mm": 8.4, "short_mm": 7.2}
GIVEN |= {"type": "solid", "upper_lobe": True}


def ball(radius_mm=6.0):
    """A ball of tissue in lung at 1 mm, and its mask."""
    place = np.stack(np.meshgrid(*[np.arange(64) - 31.5] * 3, indexing="ij"))
    inside = np.linalg.norm(place, axis=0) < radius_mm
    affine = np.eye(4)
    affine[:3, 3] = -31.5
    return CTVolume(np.where(inside, 40, -860).astype(np.int16), affine, "ct"), CTVolume(
        inside.astype(np.uint8), affine
    )


@pytest.fixture(scope="module")
def scored(random_bundle):
    predictor = Predictor(ModelBundle.open(random_bundle), "cpu")
    volume, segment = ball()
    case = Case("", "", volume, point_lps=(0.5, 0.0, 0.0), nodule_id="N1")
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        (row,) = scorer.score([case])
    mask = mask_near(segment, (0.0, 0.0, 0.0))
    axes = measure(volume, mask).axes
    return predictor.card, row, plane_views(volume, place_of(mask, axes), mask, axes)


def pdf(report):
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(render(report, "pdf"))).pages]


def test_one_nodule_is_one_page_with_all_that_a_reader_needs(scored):
    card, row, views = scored
    page = NodulePage(row.result, planes_part(views), GIVEN, ["Accepted by O1."])
    (text,) = pdf(score_report([page], card, "P0123"))
    wanted = [f"{row.result.probability:.2f}", card.probability_name, "Gate", *(w.message for w in row.result.warnings)]
    wanted += ["Brock (PanCan)", "Fleischner", "For the report:", "Accepted by O1.", "Patient P0123", card.sha256]
    wanted += ["Research only, not for clinical use.", row.result.software, "thresholds", "marked so far"]
    assert [one for one in wanted if one.replace(" ", "") not in text.replace(" ", "")] == []
    assert all(card.files[name]["sha256"][:16] in text for name in card.members("classifier"))


def test_several_nodules_have_an_overview_with_one_category(scored):
    card, row, views = scored
    small = {**GIVEN, "long_mm": 4.0, "short_mm": 4.0}
    pages = [NodulePage(replace(row.result, nodule_id=f"N{n}"), None, small) for n in range(1, 4)]
    pages[1] = replace(pages[1], clinical={**GIVEN, "long_mm": 12.0, "short_mm": 11.0}, planes=planes_part(views))
    texts = pdf(score_report(pages, card))
    assert len(texts) == 4 and "from N2; 3 nodules, marked so far" in texts[0]
    assert all(f"N{n}: " in texts[n] for n in range(1, 4)) and "Patient" not in texts[0]


def test_what_is_not_known_is_said_and_nothing_is_invented(scored):
    card, row, _views = scored
    unmeasured = replace(row.result, **dict.fromkeys(MEASURES))
    (text,) = pdf(score_report([NodulePage(unmeasured)], card))
    assert "nobody has said whether this is screening or incidental" in text and "not outlined" in text
    assert "Brock" not in text and "For the report" not in text
    failed = replace(row.result, status="failed", message="The point lies outside.", probability=None)
    (text,) = pdf(score_report([NodulePage(failed)], card))
    assert "not scored: The point lies outside." in text


def test_the_outline_is_drawn_about_the_ball(scored):
    picture = imread(io.BytesIO(planes_part(scored[2]).png))
    blue = (abs(picture[..., :3] - np.array([0x4F, 0xC3, 0xF7]) / 255) < 0.06).all(axis=2)
    third = picture.shape[1] // 3
    for number in range(3):
        rows, columns = np.nonzero(blue[:, number * third : (number + 1) * third])
        assert pytest.approx(np.ptp(columns) / third, abs=0.03) == 12 / 50
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.06)


def test_a_page_survives_the_wire(scored):
    card, row, views = scored
    message = json.loads(json.dumps(encode_page(row.result, card, views, GIVEN, ["Accepted."])))
    page = decode_page(message)
    whole = NodulePage(row.result, planes_part(views), GIVEN, ["Accepted."])
    assert page == whole
    rows = [{**message["result"], name: value} for name, value in (("probability", "x"), ("gate", "blue"), ("time", 3))]
    spoiled = [{**message, "result": row} for row in rows]
    spoiled += [{}, {"result": 3}, {**message, "views": {"axial": {"hu": 1}}}, {**message, "clinical": 7}]
    for wrong in spoiled:
        with pytest.raises((UsageError, InputError), match="wants it"):
            decode_page(wrong)


def test_pages_out_of_order_and_missing_ones_are_refused(scored, tmp_path):
    card, row, _views = scored
    reports, page = Reports(), NodulePage(row.result)
    with pytest.raises(UsageError, match="restarted in the midst"):
        reports.add("a", 1, page)
    assert reports.add("a", 0, page) == 1 and reports.add("a", 1, page) == 2
    for document, number in (("b", 2), ("a", 1), ("a", 3), ("a", "2"), ("a", None)):
        with pytest.raises(UsageError):
            reports.add(document, number, page)
    with pytest.raises(UsageError, match="has 2 of its pages"):
        reports.write("a", 3, tmp_path, "", card)
    assert not list(tmp_path.iterdir())


def test_a_real_worker_writes_the_report(scored, random_bundle, tmp_path):
    card, row, views = scored
    common = {"model": str(random_bundle), "device": "cpu", "document": "one"}
    client = WorkerClient()
    try:
        for number, prepared in enumerate((row.prepared, None)):
            named = replace(row.result, nodule_id=f"N{number + 1}")
            nodule = encode_page(named, card, views, GIVEN, (), prepared)
            client.send("report_page", **common, number=number, nodule=nodule)
        client.send("report", **common, pages=2, folder=str(tmp_path / "new"), patient="P77")
        client.send("report", **common, pages=2, folder=str(tmp_path / "again"))
        answers, end = [], time.monotonic() + 120
        while client.busy and time.monotonic() < end:
            answers += [message for message in client.poll() if message["kind"] != "progress"]
            time.sleep(0.01)
    finally:
        client.stop()
    assert [answer.get("pages") for answer in answers[:2]] == [1, 2]
    assert answers[2]["files"] == [str(tmp_path / "new" / f"report.{ending}") for ending in ("html", "pdf")]
    assert answers[3]["code"] == "report-incomplete" and not (tmp_path / "again").exists()
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert page.count("alt='figure'") == 1 and "Patient P77" in page  # explained where the case came with it
    assert len(PdfReader(tmp_path / "new" / "report.pdf").pages) >= 3


def test_the_command_writes_html_and_pdf(maemc, ct, random_bundle, tmp_path):
    options = ["score", ct, "--point", "0,0,0", "--model", random_bundle, "--output", tmp_path / "out"]
    given = [part for name, value in GIVEN.items() for part in ("--clinical", f"{name}={value}")]
    code, _out, told = maemc(*options, *given, "--patient", "Case 7")
    assert code == 0, told
    (text,) = [" ".join(page.extract_text().split()) for page in PdfReader(tmp_path / "out" / "report.pdf").pages][:1]
    assert "Patient Case 7" in text and "For the report: " in text
    code, _out, told = maemc(*options[:-2], *given)
    assert code == 2 and "clinical scores do, and stand in the report" in told
    code, _out, told = maemc(*options, "--clinical", "age=650")
    assert code == 2 and "age" in told and "from 0 to 120" in told
