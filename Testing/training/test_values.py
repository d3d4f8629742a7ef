"""What a classifier is trained on: classes, clinical values and further series of a manifest; what is refused."""

import json

import numpy as np
import pytest
from MAEMCLib.cases.values import ClinicalField
from MAEMCLib.errors import InputError, UsageError
from MAEMCTrainingLib.classifiers.cases import CaseImages
from MAEMCTrainingLib.classifiers.values import Columns, check_columns, read_cases
from MAEMCTrainingLib.data.cohort import measure_preprocessing
from MAEMCTrainingLib.data.kinds.montage_views import View, montage
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.engine.configuration import Augmentation

AUGMENTATION = Augmentation(shift_mm=1)


@pytest.fixture
def read(balls, cached, ball_home, tmp_path, write_subtypes):
    """``read(clinical, branches, target, changes)`` -> the cases of a manifest with changed rows."""

    def data(changes=None, clinical=("age", "sex"), branches=("axial", "coronal"), target="subtype", **more):
        path = write_subtypes(tmp_path / "manifest.csv", balls, changes)
        asked = Columns(tuple(clinical), tuple(branches), target, more.pop("positive", ""))
        return read_cases(*cached(path, tmp_path / "cache"), asked, tmp_path / "caches", ball_home, **more)

    return data


@pytest.fixture(scope="module")
def cohort(subtypes):
    return subtypes


def test_a_manifest_gives_classes_values_and_what_is_missing(cohort):
    assert cohort.classes == ("old", "small", "young")
    assert cohort.labels.tolist() == [0, 1, 2] * 4
    age, sex = cohort.asked
    assert age == ClinicalField("age", "number", "years", 51.5, 79.5, optional=True)
    assert sex == ClinicalField("sex", "choice", choices=("female", "male"))
    assert np.flatnonzero(~cohort.given[:, 0]).tolist() == [3, 7] and cohort.given[:, 1].all()
    assert cohort.values[:3, 0].tolist() == [70.5, 51.5, 52.5]
    assert cohort.values[:6, 1].tolist() == [0, 0, 1, 1, 0, 0]
    assert cohort.attributes == (0, 2) and cohort.seen.all()
    facts = cohort.facts()
    assert facts["classes"] == {"old": 4, "small": 4, "young": 4} and facts["given"] == {"age": 10, "sex": 12}
    assert "patient-" not in json.dumps(facts)


def test_the_manifests_own_label_and_the_positive_class(read):
    assert read(target="label").classes == ("benign-like", "malignant-like")
    made = read(target="sex", clinical=["age:months"], positive="female")
    assert made.classes == ("male", "female")
    assert made.asked[0].unit == "months"


def test_a_column_is_read_as_it_is_asked_for(read):
    changes = {n: {"grade": "12"[n % 2]} for n in range(16)}
    assert read(clinical=["grade"], changes=changes).asked[0].kind == "number"
    assert read(clinical=["grade:choice"], changes=changes).asked[0].choices == ("1", "2")


def test_a_further_series_is_a_branch_that_is_masked_where_it_is_missing(read):
    said = []
    made = read(branches=["axial", "image_2:coronal", "image_2"], say=said.append)
    assert made.seen.tolist() == [[True, n < 3, n < 3] for n in range(12)]
    assert made.asked[-1] == ClinicalField("image_2", "series", optional=True)
    assert any("9 of 12 cases have no image_2" in line for line in said)
    preprocessing = measure_preprocessing(made.main, AUGMENTATION, 250)
    # The further series is the same CT here, so its planes are those of the first.
    images = CaseImages(made, AUGMENTATION, preprocessing, 250)
    for branch, plane in ((1, 1), (2, 0)):
        expected = montage(made.main.array(2), plane, View(), preprocessing)[0]
        np.testing.assert_array_equal(images.plain(2)[branch][0], expected)
    assert [len(part) for part in images.plain(3)] == [1, 0, 0]
    # All branches of a case see one view: where they show the same plane, the same picture.
    one, other = (images.augmented(2, branch, 7, 3, together=True)[0] for branch in (0, 2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, images.augmented(2, 0, 7, 4, together=True)[0])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"clinical": ["age", "hight"]}, "no column hight"),
        ({"branches": ["axial", "image_9"]}, "no column image_9"),
        ({"target": "type"}, "no column type"),
        ({"branches": ["sagittal:x"]}, "no branch 'sagittal:x'"),
        ({"branches": ["axial", "axial"]}, "each image branch once"),
        ({"clinical": ["patient_id"]}, "says who or where"),
        ({"clinical": ["subtype"]}, "the class to be told"),
        ({"clinical": ["age", "age"]}, "named twice"),
        ({"clinical": ["a:b:c"]}, "names no clinical value"),
        ({"changes": {4: {"age": "old"}}}, r"age holds numbers, but the case case-4 has 'old'.*age:choice"),
        ({"changes": {4: {"age": "nan"}}}, "case-4 has 'nan'"),
        ({"changes": {n: {"age": ""} for n in range(12)}}, "age is empty"),
        ({"changes": {n: {"sex": "male"} for n in range(12)}}, "sex says male of every case"),
        ({"changes": {n: {"sex": f"name {n}"} for n in range(12)}}, "sex has 12 different texts.*may name a person"),
        ({"changes": {n: {"subtype": "one"} for n in range(12)}}, "All 12 cases are of the class one"),
        ({"changes": {n: {"subtype": ""} for n in range(12)}}, "No case has a subtype"),
        ({"changes": {n: {"subtype": str(n)} for n in range(12)}}, "12 different values.*another --target"),
        ({"positive": "old"}, "one of two; the classes are old, small, young"),
        ({"changes": {0: {"image_2": "gone.nrrd"}}, "branches": ["image_2"]}, "not there: those of the cases case-0"),
        ({"changes": {n: {"image_2": ""} for n in range(12)}, "branches": ["image_2"]}, "No case has an image in"),
        (
            {"branches": ["image_2"], "clinical": ["age"]},
            "Of the case case-3 and 1 more nothing at all was observed: no image_2 or age",
        ),
    ],
)
def test_data_that_cannot_be_used_are_refused_with_a_reason(read, asked, message):
    with pytest.raises((InputError, UsageError), match=message):
        read(**asked)


def test_a_branch_that_is_none_is_told_from_a_value_that_is_missing(balls):
    with pytest.raises(InputError, match=r"A branch is axial, coronal, or the column.*no column sagittal"):
        check_columns([Source(balls)], Columns((), ("axial", "sagittal")))
    with pytest.raises(InputError, match=r"^The manifest .* no column hight"):
        check_columns([Source(balls)], Columns(("hight",), ("axial", "sagittal")))


def test_a_cache_has_the_values_that_name_nobody(balls, cached, ball_home, tmp_path, write_subtypes):
    path = write_subtypes(tmp_path / "manifest.csv", balls)
    (store,), _ = cached(path, tmp_path / "cache")
    source, asked = Source(store.folder), Columns(("age",), ("axial",))
    made = read_cases([source.open(tmp_path, ball_home)], [source], asked, tmp_path, ball_home)
    expected = read_cases([store], [Source(path)], asked, tmp_path, ball_home)
    np.testing.assert_array_equal(made.values, expected.values)
    with pytest.raises(InputError, match="has no column hight"):
        check_columns([source], Columns(("hight",), ("axial",)))
