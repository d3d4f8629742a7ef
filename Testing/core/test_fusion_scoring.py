"""Scoring with fusion bundles: card, predictor, command line, batch, worker; what is asked for, missing, or wrong."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.__main__ import main
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.values import ClinicalField, read_values
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.nodule import normalize, to_montage
from MAEMCLib.inputs.region import cut_roi
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.card import branch_source, graph_of
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.graph import GraphHead
from MAEMCLib.results import NoduleResult
from MAEMCLib.scoring import CaseScorer
from MAEMCLib.worker.protocol import encode_array
from MAEMCLib.worker.server import serve

ENCODER = {"patch_size": 50, "width": 16, "depth": 1, "heads": 2}
ASKED = (
    ClinicalField("age", "number", "years", 41, 88),
    ClinicalField("sex", "choice", choices=("female", "male")),
    ClinicalField("packs", "number", low=0, high=60, optional=True),
    ClinicalField("image_2", "series", optional=True),
)
BRANCHES = ["axial", "coronal", "image_2:coronal"]


def card(classes):
    two = len(classes) == 2
    return {
        "id": "fused",
        "version": "1.0",
        "title": "Fusion with random weights",
        "architecture": {"encoder": ENCODER, "decoder": None, "graph": {"branches": BRANCHES, "width": 8, "rounds": 2}},
        "preprocessing": {"mean": 0.25, "std": 0.3},
        "fusion": "graph",
        "clinical": [one.to_json() for one in ASKED],
        "classes": list(classes),
        "positive_class": classes[1] if two else "",
        "thresholds": {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5},
        "calibration": {"calibrated": two, "slope": 1.5 if two else 1.0, "intercept": 0.2 if two else 0.0},
        "intended_use": "Tests only.",
    }


def make_bundle(path, classes, members=2):
    values = card(classes)
    graph = graph_of(values, ASKED, "fused")
    made = []
    for seed in range(members):
        network = GraphHead(EncoderConfiguration(**ENCODER), len(classes), seed, graph)
        with torch.no_grad():
            for head in network.heads:
                head.weight.mul_(20)
        network.set_standardization(torch.tensor([60.0, 0.0, 20.0]), torch.tensor([10.0, 1.0, 10.0]))
        made.append(Member("classifier", f"classifier-{seed}", network.state_dict()))
    return save_bundle(path, values, made).path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fusion")
    return {
        2: make_bundle(folder / "two.maemc", ("benign-like", "malignant-like")),
        3: make_bundle(folder / "three.maemc", ("cyst", "myeloma", "metastasis")),
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A CT with a ball at LPS (0, 0, 0), and another one of it with a larger ball."""
    folder = tmp_path_factory.mktemp("ct")
    k, j, i = np.meshgrid(*(np.arange(n) for n in (60, 70, 70)), indexing="ij")
    distance = np.sqrt((i - 35) ** 2 + (j - 35) ** 2 + (k - 30) ** 2)
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = [-35, -35, -30]
    for name, radius in (("ct.nrrd", 7), ("second.nrrd", 12)):
        noise = np.random.default_rng(1).normal(-830, 30, distance.shape)
        write_volume(CTVolume(np.where(distance < radius, 30, noise).astype(np.int16), affine, name), folder / name)
    return folder / "ct.nrrd"


def roi_of(image):
    return cut_roi(read_volume(image), (0, 0, 0), 1.0)


def slow_logits(bundle, regions, values, given):
    """The fused logits of each member for one case, by the network itself on images made here."""
    preprocessing = bundle.card.preprocessing
    images, seen = torch.zeros(1, 3, 1, 250, 250), torch.zeros(1, 3, dtype=torch.bool)
    for number, (region, plane) in enumerate(regions):
        if region is not None:
            images[0, number, 0] = torch.from_numpy(to_montage(normalize(getattr(region, plane), preprocessing)))
            seen[0, number] = True
    graph = graph_of(bundle.card.values, ASKED, "fused")
    rows = []
    for tensors in bundle.weights("classifier"):
        network = GraphHead(EncoderConfiguration(**ENCODER), len(bundle.card.classes), graph=graph)
        network.load_state_dict(tensors)
        with torch.no_grad():
            found = network.eval()(images, seen, torch.tensor([values]), torch.tensor([given]))
        rows.append(found.fused[0].double())
    return torch.stack(rows)


def test_a_prediction_is_what_the_networks_give(bundles, image):
    roi = roi_of(image)
    regions = [(roi, "axial"), (roi, "coronal"), (None, "coronal")]
    values = read_values({"age": 70, "sex": "male"}, ASKED, "m")
    case = Prepared(roi, values)
    for classes in (2, 3):
        bundle = ModelBundle.open(bundles[classes])
        predictor = open_predictor(bundle, "cpu")
        found = predictor.predict([case])[0]
        logits = slow_logits(bundle, regions, [70.0, 1.0, 0.0], [True, True, False])
        if classes == 2:
            members = torch.sigmoid((logits[:, 1] - logits[:, 0]) * 1.5 + 0.2)
            assert found.class_probabilities is None
        else:
            table = logits.softmax(dim=1)
            assert list(found.class_probabilities.values()) == pytest.approx(table.mean(dim=0).tolist(), abs=1e-5)
            members = table[:, int(table.mean(dim=0).argmax())]
        assert found.probability == pytest.approx(float(members.mean()), abs=1e-5)
        assert found.members == pytest.approx(members.tolist(), abs=1e-5)
        assert (found.interval_low, found.interval_high) == (min(found.members), max(found.members))


def test_several_cases_are_scored_each_by_its_own_values(bundles, image):
    predictor = open_predictor(ModelBundle.open(bundles[3]), "cpu")
    roi = roi_of(image)
    given = [{"age": 45, "sex": "male"}, {"age": 85, "sex": "female", "packs": 40}, {"age": 85, "sex": "female"}]
    cases = [Prepared(roi, read_values(values, ASKED, "m")) for values in given]
    progress = []
    together = [p.probability for p in predictor.predict(cases, progress.append)]
    alone = [predictor.predict([case])[0].probability for case in cases]
    assert together == pytest.approx(alone, abs=1e-6) and len(set(together)) == 3
    assert progress[-1] == 1.0


def run(arguments, capsys):
    code = main([str(word) for word in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def score(bundle, image, *more):
    return ["score", image, "--point", "0,0,0", "--model", bundle, "--device", "cpu", *more]


def test_score_reads_the_values_and_says_what_was_left_out(bundles, image, tmp_path, capsys):
    words = score(bundles[2], image, "--clinical", "age=70", "--clinical", "sex=male", "--json", "--output", tmp_path)
    code, out, _ = run(words, capsys)
    assert code == 0
    nodule = json.loads(out)["nodules"][0]
    assert nodule["clinical"] == {"age": 70.0, "sex": "male", "packs": None, "image_2": None}
    assert {w["code"] for w in nodule["warnings"]} >= {"clinical-left-out"}
    assert nodule["class_probabilities"] is None and nodule["threshold"] == 0.5
    with open(tmp_path / "results.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["clinical"] == "age=70.000000; sex=male" and row["class_probabilities"] == ""
    assert NoduleResult.from_json(nodule).clinical["sex"] == "male"
    assert (tmp_path / "report.html").exists() and (tmp_path / "N1" / "figure.png").exists()


def test_more_than_two_classes_are_called_by_the_likeliest(bundles, image, tmp_path, capsys):
    words = score(bundles[3], image, "--clinical", "age=70", "--clinical", "sex=male", "--output", tmp_path)
    code, out, _ = run([*words, "--json"], capsys)
    nodule = json.loads(out)["nodules"][0]
    every = nodule["class_probabilities"]
    assert code == 0 and sum(every.values()) == pytest.approx(1)
    assert nodule["class"] == max(every, key=every.get) and nodule["probability"] == every[nodule["class"]]
    assert nodule["threshold"] is None
    code, out, _ = run(words, capsys)
    assert "the likeliest class" in out and nodule["class"] in out and "Research only" in out
    ranked = ", ".join(f"{name} {every[name]:.2f}" for name in sorted(every, key=every.get, reverse=True))
    assert ranked in out
    page = (tmp_path / "report.html").read_text()
    assert ranked in page and "Read beside the CT: age 70, sex male" in page and "<h2>N1: " in page
    with open(tmp_path / "results.csv", newline="") as stream:
        assert "myeloma=0." in next(csv.DictReader(stream))["class_probabilities"]


def test_what_is_missing_is_asked_for_by_name(bundles, image, capsys):
    code, out, error = run(score(bundles[3], image), capsys)
    assert code == 2 and not out
    assert "asks for age (years, 41 to 88), sex (female or male)" in error and "--clinical age=41" in error
    assert run(score(bundles[3], image, "--clinical", "agge=3"), capsys)[2].count("Did you mean age?") == 1
    wrong = score(bundles[3], image, "--clinical", "age=x", "--clinical", "sex=male")
    assert "has to be a number in years" in run(wrong, capsys)[2]


def test_values_outside_the_training_color_the_result(bundles, image, capsys):
    words = score(bundles[2], image, "--clinical", "age=99", "--clinical", "sex=male", "--clinical", "packs=3")
    nodule = json.loads(run([*words, "--json"], capsys)[1])["nodules"][0]
    assert nodule["gate"] == "amber" and "clinical-range" in nodule["gate_reasons"]
    assert any("age is 99 years; the model knows 41 to 88" in w["message"] for w in nodule["warnings"])


def test_a_further_series_is_read_about_the_same_point(bundles, image, capsys):
    words = score(bundles[3], image, "--clinical", "age=70", "--clinical", "sex=male", "--json")
    without = json.loads(run(words, capsys)[1])["nodules"][0]
    second = image.parent / "second.nrrd"
    found = json.loads(run([*words, "--clinical", f"image_2={second}"], capsys)[1])["nodules"][0]
    roi, other = roi_of(image), roi_of(second)
    regions = [(roi, "axial"), (roi, "coronal"), (other, "coronal")]
    bundle = ModelBundle.open(bundles[3])
    table = slow_logits(bundle, regions, [70.0, 1.0, 0.0], [True, True, False]).softmax(dim=1).mean(dim=0)
    assert list(found["class_probabilities"].values()) == pytest.approx(table.tolist(), abs=1e-5)
    assert found["class_probabilities"] != without["class_probabilities"]
    assert found["clinical"]["image_2"] == "given", "its name and where it lies are nobody's business"
    code, _, error = run([*words, "--clinical", "image_2=gone.nrrd"], capsys)
    assert code == 3 and "The series image_2 cannot be used: There is no file" in error


def test_a_model_that_reads_images_alone_takes_no_values(random_bundle, image, capsys):
    code, _, error = run(score(random_bundle, image, "--clinical", "age=70"), capsys)
    assert code == 2 and "asks for no age; clinical scores do" in error


def test_batch_takes_the_values_from_the_manifest(bundles, image, tmp_path, capsys):
    rows = [
        {"case_id": "a", "age": "70", "sex": "male", "image_2": "second.nrrd"},
        {"case_id": "b", "age": "70", "sex": "male", "image_2": ""},
        {"case_id": "c", "age": "", "sex": "male", "image_2": ""},
        {"case_id": "d", "age": "seventy", "sex": "male", "image_2": ""},
    ]
    manifest = image.parent / "manifest.csv"
    with open(manifest, "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["case_id", "patient_id", "image", "l_mm", "p_mm", "s_mm", *list(rows[0])[1:]])
        writer.writeheader()
        writer.writerows(
            {**row, "patient_id": row["case_id"], "image": "ct.nrrd", "l_mm": 0, "p_mm": 0, "s_mm": 0} for row in rows
        )
    output = tmp_path / "results.csv"
    words = ["batch", manifest, "--output", output, "--model", bundles[3], "--device", "cpu"]
    code, _, _ = run(words, capsys)
    assert code == 3
    with open(output, newline="") as stream:
        found = {row["case_id"]: row for row in csv.DictReader(stream)}
    assert [found[name]["status"] for name in "abcd"] == ["scored", "scored", "failed", "failed"]
    assert found["a"]["probability"] != found["b"]["probability"]
    assert "asks for age" in found["c"]["message"] and "'seventy'" in found["d"]["message"]
    assert run(words, capsys)[0] == 3  # the same columns are read again


def test_the_worker_takes_the_values_with_each_nodule(bundles, image):
    roi = roi_of(image)
    nodule = {"axial": encode_array(roi.axial), "coronal": encode_array(roi.coronal)}
    given = [{"age": "70", "sex": "male"}, {"age": 50, "sex": "female"}]
    requests = [
        {"request": "predict", "nodules": [nodule | {"clinical": values} for values in given]},
        {"request": "predict", "nodules": [nodule]},
        {"request": "predict", "nodules": [nodule | {"clinical": ["age"]}]},
        {"request": "explain", "nodules": [nodule | {"clinical": given[0]}]},
    ]
    common = {"model": str(bundles[3]), "device": "cpu"}
    lines = "".join(json.dumps({"id": n, **common, **r}) + "\n" for n, r in enumerate(requests)).encode()
    answers = io.BytesIO()
    serve(io.BytesIO(lines), answers)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    found = {message["id"]: message for message in found if message["kind"] != "progress"}
    predictor = open_predictor(ModelBundle.open(bundles[3]), "cpu")
    expected = [predictor.predict([Prepared(roi, read_values(values, ASKED, "m"))])[0] for values in given]
    for one, other in zip(found[0]["predictions"], expected, strict=True):
        assert one["class_probabilities"] == pytest.approx(other.class_probabilities, abs=1e-6)
    assert found[1]["code"] == "clinical-missing" and "asks for age" in found[1]["message"]
    assert found[2]["code"] == "clinical"
    explained = found[3]
    assert set(explained["attention"]) == {"axial", "coronal"} and explained["reconstruction"] == {}


def test_the_worker_takes_the_regions_of_further_series(bundles, image):
    roi, other = roi_of(image), roi_of(image.parent / "second.nrrd")
    nodule, series = ({p: encode_array(getattr(r, p)) for p in ("axial", "coronal")} for r in (roi, other))
    nodule["clinical"] = {"age": 70, "sex": "male", "image_2": "a name"}
    nodules = [
        nodule | {"series": {"image_2": series}},
        nodule | {"series": {"image_2": nodule}},
        nodule | {"clinical": {"age": 70, "sex": "male"}, "series": {"image_2": series}},
        nodule | {"clinical": {"age": 70, "sex": "male"}},
        nodule,
        nodule | {"series": {"image_9": series}},
        nodule | {"series": {"image_2": {"axial": series["axial"]}}},
        nodule | {"series": ["image_2"]},
    ]
    found = []
    for one in nodules:
        answers = io.BytesIO()
        request = {"id": 1, "request": "predict", "model": str(bundles[3]), "device": "cpu", "nodules": [one]}
        serve(io.BytesIO(json.dumps(request).encode() + b"\n"), answers)
        found.append(json.loads(answers.getvalue().splitlines()[-1]))
    every = [message["predictions"][0]["class_probabilities"] for message in found[:4]]
    values = read_values({"age": 70, "sex": "male", "image_2": "a name"}, ASKED, "m")
    predictor = open_predictor(ModelBundle.open(bundles[3]), "cpu")
    expected = predictor.predict([Prepared(roi, replace(values, regions={"image_2": other}))])[0]
    assert every[0] == pytest.approx(expected.class_probabilities, abs=1e-6)
    assert every[0] != every[1] and every[0] == every[2] and every[3] not in every[:3]
    assert [message["code"] for message in found[4:]] == ["series", "clinical-unknown", "array", "clinical"]


def test_a_series_in_memory_is_what_its_file_is(bundles, image):
    """As Slicer gives it. Nothing of the volume stays with what was cut of it."""
    second = read_volume(image.parent / "second.nrrd")
    predictor = open_predictor(ModelBundle.open(bundles[3]), "cpu")
    volume, files = read_volume(image), image.parent / "second.nrrd"
    low = CTVolume(second.array + np.int16(1200), second.affine, "Raw")
    given = [{"age": "70", "sex": "male", "image_2": series} for series in (second, str(files), low)]
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        one, other, failed = scorer.score([Case("", "", volume, point_lps=(0, 0, 0), values=v) for v in given])
    assert one.result.class_probabilities == other.result.class_probabilities
    assert (one.result.clinical["image_2"], other.result.clinical["image_2"]) == ("second.nrrd", "given")
    assert second not in one.prepared.values.values.values()
    assert "The series image_2 cannot be used: the file does not look like a chest CT" in failed.result.message


def test_a_series_that_was_named_and_not_cut_is_not_left_out_in_silence(bundles, image):
    """As a worker's client might send it: what it gets is a region, never a path."""
    values = read_values({"age": 70, "sex": "male", "image_2": "second.nrrd"}, ASKED, "m")
    with pytest.raises(InputError, match="image_2 was named, but its region did not come with it"):
        open_predictor(ModelBundle.open(bundles[3]), "cpu").predict([Prepared(roi_of(image), values)])


def test_nothing_at_all_is_refused(tmp_path, image):
    values = card(("a", "b", "c"))
    values["architecture"]["graph"]["branches"] = ["image_2"]
    asked = [ClinicalField("age", "number", low=1, high=2, optional=True), ASKED[3]]
    values["clinical"] = [one.to_json() for one in asked]
    network = GraphHead(EncoderConfiguration(**ENCODER), 3, graph=graph_of(values, asked, "m"))
    bundle = save_bundle(tmp_path / "m.maemc", values, [Member("classifier", "c", network.state_dict())])
    predictor = Predictor(bundle, "cpu")
    with pytest.raises(InputError, match="neither an image nor a value"):
        predictor.predict([Prepared(roi_of(image), read_values({}, asked, "m"))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a"]}, "two or more names"),
        ({"classes": ["a", "a", "b"]}, "two or more names"),
        ({"fusion": "mean"}, "which models of fusion alone read"),
        ({"clinical": [{"name": "age", "kind": "odd"}]}, "of the kind 'odd'"),
        ({"clinical": 5}, "not understood"),
    ],
)
def test_cards_that_contradict_themselves_are_refused(tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        members = [Member("classifier", "c", {"x": torch.ones(1)})]
        save_bundle(tmp_path / "m.maemc", card(("a", "b", "c")) | change, members)


@pytest.mark.parametrize(
    "graph",
    [None, {"branches": ["axial"], "width": 8, "depth": 3}, {"branches": ["image_9"]}, {"branches": [], "width": 8}],
)
def test_a_graph_that_is_not_understood_is_refused(tmp_path, graph):
    values = card(("a", "b", "c"))
    values["architecture"]["graph"] = graph
    bundle = save_bundle(tmp_path / "m.maemc", values, [Member("classifier", "c", {"x": torch.ones(1)})])
    with pytest.raises(ModelError, match="graph"):
        Predictor(bundle, "cpu")


def test_branches_name_a_series_and_a_plane():
    assert branch_source("axial") == ("", "axial") and branch_source("coronal") == ("", "coronal")
    assert branch_source("image_2") == ("image_2", "axial")
    assert branch_source("image_2:coronal") == ("image_2", "coronal")


def test_each_image_that_a_fusion_sees_is_explained(bundles, image, tmp_path, capsys):
    words = ["explain", image, "--point", "0,0,0", "--model", bundles[3], "--output", tmp_path]
    assert run(words, capsys)[0] == 2  # without the values that it asks for
    words += ["--clinical", "age=70", "--clinical", "sex=male"]
    code, out, _ = run(words, capsys)
    seen = {"figure.png", "seen.png", "explanation.json", "attention_axial.nrrd", "attention_coronal.nrrd"}
    assert code == 0 and "Bar over the slices: how much the class token draws" in out
    assert {path.name for path in tmp_path.iterdir()} == seen
    assert run([*words, "--clinical", f"image_2={image.parent / 'second.nrrd'}"], capsys)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"attention_image_2_coronal.nrrd", *seen}
    found = read_volume(tmp_path / "attention_image_2_coronal.nrrd")
    np.testing.assert_allclose(found.affine, roi_of(image).affine("coronal"), atol=1e-6)


def test_the_card_says_what_it_asks_for(bundles, capsys):
    code, out, _ = run(["models", "show", bundles[3]], capsys)
    assert code == 0
    assert "age (years, 41 to 88), sex (female or male), packs (0 to 60) (optional)" in " ".join(out.split())
    assert "cyst, myeloma, metastasis" in out
