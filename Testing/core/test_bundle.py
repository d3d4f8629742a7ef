"""Bundles: sound ones open, every defect has its own words, nothing half-written stays."""

import hashlib
import json
import os
import zipfile

import pytest
import torch
from MAEMCLib.errors import ModelError
from MAEMCLib.models.bundle import Member, ModelBundle, copy_bundle, read_card, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.store import find_model, import_model, list_models, remove_model


@pytest.fixture(params=["folder", "zip"])
def bundle(request, tmp_path, random_card, random_members):
    name = "Mein Modell ü.maemc" if request.param == "zip" else "Mein Modell ü"
    return save_bundle(tmp_path / name, random_card, random_members)


@pytest.fixture
def folder(tmp_path, random_card, random_members):
    return save_bundle(tmp_path / "model", random_card, random_members).path


def edit_card(folder, **changes):
    card = json.loads((folder / "bundle.json").read_text())
    card.update(changes)
    (folder / "bundle.json").write_text(json.dumps(card))


def test_saved_tensors_come_back(bundle, random_members):
    opened = ModelBundle.open(bundle.path)
    saved = [member.tensors for member in random_members if member.role == "classifier"]
    for before, after in zip(saved, opened.weights("classifier"), strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_identity_is_the_hash_of_the_card(folder):
    assert read_card(folder).sha256 == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()


def test_equal_bundles_are_equal_files(tmp_path, random_card, random_members):
    first = save_bundle(tmp_path / "a.maemc", random_card, random_members).path
    second = save_bundle(tmp_path / "b.maemc", random_card, random_members).path
    assert first.read_bytes() == second.read_bytes()


def test_a_changed_byte_is_found_and_named(folder):
    file = folder / "classifier-1.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert ModelBundle(folder, read_card(folder)).problems() == ["classifier-1.safetensors has the wrong SHA-256"]
    with pytest.raises(ModelError, match=r"cannot be trusted: classifier-1\.safetensors has the wrong SHA-256"):
        ModelBundle.open(folder)


def test_a_changed_byte_in_a_zip_is_found(tmp_path, random_bundle):
    data = bytearray(random_bundle.read_bytes())
    place = data.find(b"classifier-0.safetensors") + 5000
    data[place] ^= 1
    (tmp_path / "x.maemc").write_bytes(data)
    with pytest.raises(ModelError, match=r"classifier-0\.safetensors"):
        ModelBundle.open(tmp_path / "x.maemc")


def test_a_missing_and_a_shortened_file_are_named(folder):
    (folder / "decoder.safetensors").unlink()
    file = folder / "classifier-0.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ModelError) as caught:
        ModelBundle.open(folder)
    assert "decoder.safetensors is missing" in str(caught.value)
    assert "classifier-0.safetensors has the wrong size" in str(caught.value)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"schema": 3}, "newer MAEMC"),
        ({"schema": "one"}, "unknown bundle schema"),
        ({"schema": None}, "unknown bundle schema"),
        ({"positive_class": "benign-like"}, "second of"),
        ({"fusion": "sagittal"}, "fusion"),
        ({"thresholds": {"balanced": 2}}, "thresholds"),
        ({"calibration": {"slope": 1, "intercept": 0}}, "calibrated"),
        ({"files": {"../evil": {"sha256": "0" * 64, "bytes": 1}}}, "outside itself"),
        ({"members": []}, "no classifier"),
        ({"preprocessing": {"std": 0}}, "contradict"),
        ({"preprocessing": {"sigma": 1}}, "not understood"),
        ({"architecture": 7}, "architecture"),
    ],
)
def test_cards_that_cannot_be_used(folder, changes, words):
    edit_card(folder, **changes)
    with pytest.raises(ModelError, match=words):
        ModelBundle.open(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_cards_that_are_not_cards(folder, text):
    (folder / "bundle.json").write_text(text)
    with pytest.raises(ModelError):
        read_card(folder)


def test_what_is_no_bundle(tmp_path):
    (tmp_path / "x.maemc").write_bytes(b"PK\x03\x04 not really a zip")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "other.maemc", "w") as archive:
        archive.writestr("model.pkl", b"pickle")
    for name in ("x.maemc", "empty", "other.maemc"):
        with pytest.raises(ModelError, match="not a model bundle"):
            ModelBundle.open(tmp_path / name)
    with pytest.raises(ModelError, match="no model at"):
        ModelBundle.open(tmp_path / "none")


def test_weights_that_do_not_fit(tmp_path, random_card, random_members):
    wider = {**random_card, "architecture": {"encoder": {"patch_size": 50, "width": 64, "depth": 2, "heads": 4}}}
    bundle = save_bundle(tmp_path / "wide", wider, random_members)
    with pytest.raises(ModelError, match="do not fit"):
        Predictor(bundle, "cpu")
    unknown = {**random_card, "architecture": {"encoder": {"patch_size": 50, "layers": 3}}}
    with pytest.raises(ModelError, match="unknown to this version"):
        Predictor(save_bundle(tmp_path / "unknown", unknown, random_members), "cpu")
    integers = {name: tensor.to(torch.int8) for name, tensor in random_members[0].tensors.items()}
    bundle = save_bundle(tmp_path / "int", random_card, [Member("classifier", "c", integers)])
    with pytest.raises(ModelError, match="do not fit"):
        Predictor(bundle, "cpu")


def test_garbage_with_the_right_hash_is_refused(folder):
    data = b"not safetensors at all"
    (folder / "classifier-0.safetensors").write_bytes(data)
    files = json.loads((folder / "bundle.json").read_text())["files"]
    files["classifier-0.safetensors"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    edit_card(folder, files=files)
    with pytest.raises(ModelError, match="no readable weights"):
        Predictor(ModelBundle.open(folder), "cpu")


def test_a_failed_save_leaves_the_old_bundle_and_no_scratch(tmp_path, random_card, random_members):
    path = tmp_path / "m.maemc"
    save_bundle(path, random_card, random_members)
    before = path.read_bytes()
    with pytest.raises(ModelError):
        save_bundle(path, {**random_card, "fusion": "none"}, random_members)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.maemc"]


def test_replacing_a_folder_bundle(tmp_path, random_card, random_members):
    save_bundle(tmp_path / "m", random_card, random_members)
    save_bundle(tmp_path / "m", {**random_card, "version": "2.0"}, random_members)
    assert read_card(tmp_path / "m").version == "2.0"
    assert os.listdir(tmp_path) == ["m"]


def test_places_that_cannot_be_written(tmp_path, random_card, random_members, random_bundle, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="can be written"):
        save_bundle(tmp_path / "file" / "m.maemc", random_card, random_members)
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="can be written"):
        import_model(random_bundle)


def test_import_find_and_remove(random_bundle, random_card, random_members, tmp_path):
    imported = import_model(random_bundle)
    assert imported.path.is_dir() and find_model("random") == imported.path
    assert import_model(random_bundle).path == imported.path  # the same model again changes nothing
    newer = save_bundle(tmp_path / "n.maemc", {**random_card, "version": "1.10"}, random_members)
    import_model(newer.path, newer.card.sha256)
    assert read_card(find_model("random")).version == "1.10"
    assert read_card(find_model("random@1.0")).version == "1.0"
    other = save_bundle(tmp_path / "o.maemc", {**random_card, "title": "Another"}, random_members)
    with pytest.raises(ModelError, match="different model"):
        import_model(other.path)
    remove_model("random@1.10")
    assert read_card(find_model("random")).version == "1.0"
    with pytest.raises(ModelError, match="no model 'absent'"):
        find_model("absent")


def test_a_broken_model_is_listed_with_its_problem(random_bundle):
    path = import_model(random_bundle).path
    (path / "bundle.json").write_text("{")
    (broken,) = [model for model in list_models() if not model.shipped]
    assert broken.card is None and "not valid JSON" in broken.problem


def test_export_writes_a_verified_copy(random_bundle, tmp_path):
    copied = copy_bundle(ModelBundle.open(random_bundle), tmp_path / "copy ü.maemc")
    assert copied.card.sha256 == read_card(random_bundle).sha256
