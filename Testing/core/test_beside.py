"""What stands beside a number: words for characteristics, the training nodules most alike; read, told, shown."""

import base64
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.characteristics.alike import SIDE, TrainingNodules, packed
from MAEMCLib.characteristics.heads import Heads
from MAEMCLib.characteristics.ratings import SCALES, word_of
from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.models.beside import training_nodules
from MAEMCLib.models.bundle import ModelBundle, read_card, save_bundle
from MAEMCLib.models.card import SCHEMA
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.report.beside import alike_parts, words_text
from MAEMCLib.report.card import card_text
from MAEMCLib.report.formats import render
from MAEMCLib.report.nodule_page import NodulePage
from MAEMCLib.report.scores import score_report
from MAEMCLib.results import COLUMNS, Alike, NoduleResult
from MAEMCLib.scoring import scored
from MAEMCLib.worker.protocol import decode_prediction
from MAEMCLib.worker.reports import decode_page, encode_page
from MAEMCLib.worker.training_nodules import ShownNodules
from PIL import Image

from Testing.core.beside_bundles import COUNT, NAMES, WIDTH, arrays, beside_card, beside_members, heads


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, random_card, random_members):
    path = tmp_path_factory.mktemp("beside") / "beside.maemc"
    return save_bundle(path, beside_card(random_card), beside_members(random_members))


@pytest.fixture(scope="module")
def predictor(bundle):
    return Predictor(bundle, "cpu")


def prepared(seed=0):
    stacks = np.random.default_rng(seed).uniform(-1100, 300, (2, 25, 50, 50)).astype(np.float32)
    return Prepared(
        NoduleROI(stacks[0], stacks[1], (0.0, 0.0, 0.0), 1.0, 0.0), case=Case("c", "p", Path(), nodule_id="N1")
    )


@pytest.mark.parametrize(
    ("rating", "place"), [(-3, 0), (1, 0), (1.49, 0), (1.5, 1), (2.5, 2), (3.49, 2), (4.5, 4), (9, 4)]
)
def test_a_rating_has_the_word_of_the_next_whole_number(rating, place):
    for name, words in SCALES.items():
        assert word_of(name, rating) == words[place] and len(set(words)) == 5


def test_heads_are_the_mean_of_the_members_ratings_within_the_scale():
    made = Heads.of([heads(seed) for seed in range(3)], NAMES, WIDTH)
    features = np.random.default_rng(1).normal(size=(3, 7, WIDTH))
    for case in range(7):
        for column in range(2):
            each = [
                sum(features[m, case, k] * heads(m)["weight"][column, k] for k in range(WIDTH))
                + heads(m)["bias"][column]
                for m in range(3)
            ]
            expected = np.mean([min(5, max(1, one)) for one in each])
            assert made.ratings(features)[case, column] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="2 characteristics of 31 features"):
        Heads.of([heads(0)], NAMES, WIDTH - 1)
    with pytest.raises(ValueError, match="not numbers"):
        Heads.of([{**heads(0), "bias": np.array([np.nan, 0])}], NAMES, WIDTH)


def whitened_slowly(features):
    """Decorrelated features by solving, for one nodule after the other; Euclidean lengths are those of ``packed``."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    covariance = scaled.T @ scaled / len(scaled)
    matrix = covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.array([[a @ np.linalg.solve(matrix, b) for b in scaled] for a in scaled])


def test_the_most_alike_are_those_of_the_largest_cosine_each_of_another_patient():
    features = np.random.default_rng(3)
    ratings = features.integers(1, 6, (COUNT, 2, 4))
    pictures = features.integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
    features = features.normal(size=(COUNT, 6)) * [9, 1, 1, 1, 1, 0.1] + 4
    patients = np.arange(COUNT) // 2
    made = TrainingNodules.of(packed(features, patients, np.full(COUNT, 5.0), ratings, pictures), NAMES)
    inner = whitened_slowly(features)
    cosines = inner / np.sqrt(np.outer(np.diag(inner), np.diag(inner)))
    for query in range(COUNT):
        own = int(patients[query])
        order = [one for one in np.argsort(-cosines[query]) if patients[one] != own]
        first: dict = {}
        for one in order:
            first.setdefault(int(patients[one]), int(one))
        found = made.most_alike(features[query], without=own)
        assert [cosines[query, one.number - 1] for one in found] == pytest.approx(
            sorted((cosines[query, one] for one in first.values()), reverse=True)[:3], abs=0.02
        )
        assert len({patients[one.number - 1] for one in found} | {own}) == 4
        for one in found:  # a byte a feature
            assert one.similarity == pytest.approx(cosines[query, one.number - 1], abs=0.02)
        itself = made.most_alike(features[query])[0]
        assert itself.number == query + 1 and itself.similarity == pytest.approx(1, abs=0.001)
        assert itself.ratings == {name: ratings[query, k].tolist() for k, name in enumerate(NAMES)}


def test_pictures_are_8_bit_pngs_of_what_was_packed():
    made, stored = TrainingNodules.of(arrays(), NAMES), arrays()["thumbnails"]
    for number in (1, COUNT):
        with Image.open(io.BytesIO(made.png(number))) as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.array(picture), stored[number - 1])
    for number in (0, COUNT + 1):
        with pytest.raises(ValueError, match="no training nodule"):
            made.png(number)


def test_the_predictor_tells_them_by_the_features_that_it_scores_by(predictor):
    cases = [prepared(seed) for seed in range(3)]
    features = predictor.features(cases)
    ratings = Heads.of([heads(seed) for seed in range(3)], NAMES, WIDTH).ratings(features)
    nodules = TrainingNodules.of(arrays(), ["malignancy", "margin"])
    for number, prediction in enumerate(predictor.predict(cases)):
        value = ratings[number, 0]
        expected = {"lobulation": {"rating": pytest.approx(value, abs=0.01), "word": word_of("lobulation", value)}}
        assert prediction.characteristics == expected  # texture is not among those that are shown
        assert prediction.alike == nodules.most_alike(features[1, number])
    assert nodules.most_alike(features[0, 0]) != nodules.most_alike(features[1, 0])  # of the named member


def test_a_case_without_an_image_is_told_nothing(predictor):
    told = predictor.beside.told(np.zeros((3, 2, WIDTH)), np.array([False, True]))
    assert told[0] == {} and set(told[1]) == {"characteristics", "alike"}


def test_of_no_nodule_nothing_is_said(predictor):
    case = prepared()
    prediction = predictor.predict([case])[0]
    row = scored(case, replace(prediction, nodule_present=0.9), predictor.card)
    assert row.characteristics == prediction.characteristics and row.alike == prediction.alike and row.alike
    row = scored(case, replace(prediction, nodule_present=0.1), predictor.card)
    assert row.characteristics is None and row.alike == ()


def test_rows_keep_them_in_json_and_csv_stays_as_promised(predictor):
    row = scored(prepared(), predictor.predict([prepared()])[0], predictor.card)
    values = json.loads(json.dumps(row.to_json()))
    assert values["alike"][0].keys() == {"number", "similarity", "diameter_mm", "ratings"}
    assert NoduleResult.from_json(values) == row
    assert not {"alike", "characteristics"} & set(COLUMNS) and set(row.to_row()) == set(COLUMNS)
    del values["alike"], values["characteristics"]  # a row of an earlier version
    assert NoduleResult.from_json(values).alike == ()


def test_a_prediction_survives_the_wire(predictor):
    prediction = predictor.predict([prepared()])[0]
    assert decode_prediction(json.loads(json.dumps(asdict(prediction)))) == prediction


def test_bundles_say_the_lowest_schema_that_reads_them(bundle, random_bundle):
    assert bundle.card.values["schema"] == SCHEMA == 2
    old = ModelBundle.open(random_bundle)
    assert old.card.values["schema"] == 1 and training_nodules(old) is None
    told = Predictor(old, "cpu").predict([prepared()])[0]
    assert told.characteristics is None and told.alike == ()


def test_members_that_the_card_does_not_allow(tmp_path, random_card, random_members):
    good, unknown = beside_members(random_members), {"names": ["age"], "shown": []}
    wrong = {
        "not every classifier has its head": (beside_card(random_card), good[:-2]),
        "says nothing of them": ({**beside_card(random_card), "alike": None}, good),
        "does not have": (beside_card(random_card, alike={"names": [], "member": 3, "attribution": ""}), good),
        "no head for": (beside_card(random_card, characteristics={"names": [], "shown": ["margin"]}), good),
        "characteristics is not what": (beside_card(random_card, characteristics=unknown), good),
        "alike is not what": (beside_card(random_card, alike={"names": [], "member": 0}), good),
    }
    for number, (words, (card, members)) in enumerate(wrong.items()):
        card = {name: value for name, value in card.items() if value is not None}
        with pytest.raises(ModelError, match=words):
            save_bundle(tmp_path / f"{number}.maemc", card, members)
    sound = save_bundle(tmp_path / "sound", beside_card(random_card), good).path
    card = json.loads((sound / "bundle.json").read_text())
    (sound / "bundle.json").write_text(json.dumps({**card, "schema": 1}))
    with pytest.raises(ModelError, match="schema 1 has no such members"):
        read_card(sound)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.zeros((COUNT, WIDTH), np.float32)}, "other tensors"),
        ({"features": np.zeros((COUNT, WIDTH - 1), np.int8)}, "do not fit"),
        ({"thumbnails": np.zeros((COUNT, SIDE, SIDE + 1), np.uint8)}, "thumbnails of 20 nodules do not fit"),
        ({"ratings": np.full((COUNT, 2, 4), 6, np.uint8)}, "beyond the readers' scale"),
        ({"center": np.full(WIDTH, np.inf, np.float32)}, "no finite number"),
        ({"further": np.zeros(3, np.float32)}, "other tensors"),
    ],
)
def test_training_nodules_that_cannot_be_used(tmp_path, random_card, random_members, changes, words):
    made = save_bundle(tmp_path / "m", beside_card(random_card), beside_members(random_members, arrays() | changes))
    with pytest.raises(ModelError, match=words):
        training_nodules(made)
    with pytest.raises(ModelError, match=words):
        Predictor(made, "cpu")


def test_nodules_of_another_network_are_refused(tmp_path, random_card, random_members):
    other = beside_members(random_members, arrays(width=WIDTH + 1))
    made = save_bundle(tmp_path / "m", beside_card(random_card), other)
    with pytest.raises(ModelError, match="they have 33 features, its network 32"):
        Predictor(made, "cpu")


def test_more_than_any_set_of_nodules_is_not_read(bundle, monkeypatch):
    monkeypatch.setattr("MAEMCLib.models.beside.LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="other tensors"):
        training_nodules(bundle)


def test_the_report_shows_words_pictures_ratings_and_whose_they_are(predictor, bundle):
    row = scored(prepared(), predictor.predict([prepared()])[0], predictor.card)
    parts = alike_parts(row, training_nodules(bundle), bundle.card)
    page = NodulePage(row, alike=parts)
    html = render(score_report([page], bundle.card), "html")
    for text in (
        words_text(row.to_json()),
        f"No. {row.alike[2].number}",
        "Whose pictures: ours.",
        "no diagnosis",
        "axial slices, 50 mm wide",
    ):
        assert text in html
    assert render(score_report([page], bundle.card), "pdf").startswith(b"%PDF")
    figure = parts[0].parts[0][0]
    with Image.open(io.BytesIO(figure.png)) as strip:
        left = np.array(strip.convert("L").resize((strip.width // 4, SIDE)))[:, :SIDE].astype(float)
    expected = training_nodules(bundle).picture(row.alike[0].number).astype(float)
    assert np.corrcoef(left.ravel(), expected.ravel())[0, 1] > 0.8
    assert alike_parts(replace(row, alike=()), training_nodules(bundle), bundle.card) == []


def test_the_card_says_how_good_both_are(bundle, random_bundle):
    text = card_text(bundle.card)
    assert "Words beside the number" in text and "Alike training nodules" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("lobulation", "texture"))] == [
        "yes",
        "no",
    ]
    assert "Words beside the number" not in card_text(read_card(random_bundle))


def test_the_worker_sends_pictures_and_puts_them_on_a_page(predictor, bundle):
    shown, path = ShownNodules(), str(bundle.path)
    first, second = shown.pictures(path, [3, 7])
    assert base64.b64decode(second) == training_nodules(bundle).png(7) and first != second
    for numbers in (None, [0], [COUNT + 1], ["3"], [True], [1] * 65):
        with pytest.raises(UsageError):
            shown.pictures(path, numbers)
    row = scored(prepared(), predictor.predict([prepared()])[0], predictor.card)
    page = decode_page(json.loads(json.dumps(encode_page(row, bundle.card))))
    assert shown.with_alike(page, path).alike
    other = replace(page, result=replace(row, model_sha256="0" * 64))
    assert shown.with_alike(other, path).alike == ()  # of another model than the row's nothing is shown
    beyond = replace(page, result=replace(row, alike=(Alike(COUNT + 1, 0.5, None, {}),)))
    with pytest.raises(UsageError, match="names nodules that the model has not"):
        shown.with_alike(beyond, path)


def test_a_model_that_shows_none_says_so(random_bundle):
    with pytest.raises(UsageError, match="shows no training nodules"):
        ShownNodules().pictures(str(random_bundle), [1])


@pytest.mark.parametrize(
    "changes",
    [
        {"characteristics": {"lobulation": {"rating": "3", "word": "x"}}},
        {"characteristics": {"lobulation": {"rating": 3.0}}},
        {"characteristics": {"lobulation": 3}},
        {"characteristics": "lobulation"},
        {"alike": [{"number": 1.5, "similarity": 0.5, "diameter_mm": None, "ratings": {}}]},
        {"alike": [{"number": 1, "similarity": "0", "diameter_mm": None, "ratings": {}}]},
        {"alike": [{"number": 1, "similarity": 0.5, "diameter_mm": None, "ratings": {"margin": ["1"]}}]},
        {"alike": [{"number": 1}]},
        {"alike": 3},
    ],
)
def test_pages_of_rows_that_are_none(predictor, bundle, changes):
    row = scored(prepared(), predictor.predict([prepared()])[0], predictor.card)
    page = encode_page(row, bundle.card)
    with pytest.raises(UsageError, match="not as the protocol wants it"):
        decode_page({**page, "result": {**page["result"], **changes}})
