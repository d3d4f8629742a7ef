"""Models of this machine: each id and version has its place, a name means one model, and what was shipped is that."""

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path

import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.files.atomic import home
from MAEMCLib.models import store as model_store
from MAEMCLib.models.bundle import ModelBundle, copy_bundle, read_card, save_bundle
from MAEMCLib.models.store import SHIPPED, find_model, import_model, list_models, remove_model, shipped_folder

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@pytest.fixture
def make(tmp_path, random_card, random_members):
    """A bundle of an id and a version, told from others by its title."""

    def make(name, version="1", title="T"):
        path = tmp_path / hashlib.sha256(f"{name}@{version} {title}".encode()).hexdigest()[:8]
        card = {**random_card, "id": name, "version": version, "title": title}
        return save_bundle(path.with_suffix(".maemc"), card, random_members[:1])

    return make


def test_each_id_and_version_has_a_place_of_its_own(make):
    names = [("a b", "1"), ("a-b", "1"), ("a", "b-1"), ("Model", "1"), ("model", "1"), ("CON", "1."), ("nul.x", "1"),
             ("ä", "1"), ("é", "1"), ("...", "1"), ("x" * 100, "1" * 100), ("m", "1"), ("m", "1.")]  # fmt: skip
    known = {}
    for name, version in names:
        bundle = make(name, version)
        import_model(bundle.path, bundle.card.sha256)
        known[name, version] = bundle.card.sha256
    models = [model for model in list_models() if not model.shipped]
    assert {(model.card.id, model.card.version): model.card.sha256 for model in models} == known
    folders = [model.path.name for model in models]
    assert len({name.lower() for name in folders}) == len(names)  # also where a disk takes no notice of case
    assert not any(RESERVED.fullmatch(name) or name.endswith((".", " ")) or len(name) > 80 for name in folders)
    assert all(name.isascii() for name in folders)


def test_a_store_of_an_earlier_version_goes_on(make):
    bundle = make("mine", "1.0")
    copy_bundle(bundle, home() / "models" / "mine-1.0")
    assert find_model("mine") == import_model(bundle.path).path == home() / "models" / "mine-1.0"
    remove_model("mine@1.0")
    assert not (home() / "models" / "mine-1.0").exists()


def test_a_known_name_from_elsewhere_needs_its_hash(make, capsys):
    import_model(make("mine", "1.0").path)
    newer = make("mine", "2.0")
    assert main(["models", "import", str(newer.path)]) == 4
    error = capsys.readouterr().err
    assert newer.card.sha256 in error and "--sha256" in error and read_card(find_model("mine")).version == "1.0"
    assert main(["models", "import", str(newer.path), "--sha256", "0" * 64]) == 4
    assert "another model" in capsys.readouterr().err
    assert main(["models", "import", str(newer.path), "--sha256", "abc"]) == 2
    assert main(["models", "import", str(newer.path), "--sha256", newer.card.sha256.upper()]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("mine@2.0 is at ") and newer.card.sha256 in said.err and "unverified" in said.err
    assert read_card(find_model("mine")).version == "2.0"
    other = make("mine", "2.0", "Another")
    with pytest.raises(ModelError, match=r"models remove mine@2\.0"):  # nothing is overwritten, hash or not
        import_model(other.path, other.card.sha256)
    with pytest.raises(UsageError):
        import_model(newer.path, 64 * "g")


def test_a_strangers_file_does_not_take_the_shipped_models_name(make, capsys):
    shipped = find_model()
    stranger = make("lidc-rating", "99.0", "LIDC rating (official)")
    version = read_card(shipped).version
    with pytest.raises(ModelError, match=rf"called lidc-rating is here already \(lidc-rating@{version}\)"):
        import_model(stranger.path)
    import_model(stranger.path, stranger.card.sha256)
    assert main(["models", "verify", "lidc-rating@99.0"]) == 0 and "is another one" in capsys.readouterr().out
    assert find_model("lidc-rating") == find_model() == shipped
    assert read_card(find_model("lidc-rating@99.0")).sha256 == stranger.card.sha256
    same = make("lidc-rating", version, "LIDC rating (official)")
    with pytest.raises(ModelError, match="came with MAEMC and stays"):
        import_model(same.path, same.card.sha256)
    assert import_model(shipped).path == shipped
    with pytest.raises(ModelError, match="not among the imported"):
        remove_model(f"lidc-rating@{version}")
    remove_model("lidc-rating")  # of two the one that can be removed
    with pytest.raises(ModelError):
        find_model("lidc-rating@99.0")


def test_an_id_is_found_before_a_file_of_that_name(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy_bundle(make("other"), tmp_path / "lidc-rating")
    copy_bundle(make("other"), tmp_path / "mine.maemc")
    assert read_card(find_model("lidc-rating")).id == "lidc-rating"
    assert read_card(find_model("./lidc-rating")).id == read_card(find_model(Path("lidc-rating"))).id == "other"
    assert read_card(find_model("mine.maemc")).id == "other"
    copy_bundle(make("other"), tmp_path / "unknown")
    with pytest.raises(ModelError, match=r"no model 'unknown'.*write \./unknown"):
        find_model("unknown")


def test_what_is_shipped_is_what_was_released(tmp_path, monkeypatch, capsys):
    card = read_card(find_model())
    assert {f"{card.id}@{card.version}": card.sha256} == SHIPPED
    assert main(["models", "verify"]) == 0
    said = capsys.readouterr().out
    assert card.sha256 in said and "gives the author's numbers" in said
    changed = tmp_path / "lidc-rating.maemc"
    with zipfile.ZipFile(shipped_folder() / "lidc-rating.maemc") as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, re.sub(rb'"slope": [0-9.]+', b'"slope": 1.1', old.read(name), count=1))
    assert main(["models", "verify", str(changed)]) == 4
    assert f"not the lidc-rating {card.version} that MAEMC was released with" in capsys.readouterr().out
    monkeypatch.setattr(model_store, "shipped_folder", lambda: tmp_path)
    for reference in (None, "lidc-rating", f"lidc-rating@{card.version}"):
        with pytest.raises(ModelError, match="released with"):
            find_model(reference)
    assert main(["models", "verify"]) == 4
    assert main(["models", "list"]) == 0
    assert "lidc-rating.maemc  cannot be used" in capsys.readouterr().out


def test_nothing_is_guessed_where_no_model_is_shipped(make, monkeypatch):
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    with pytest.raises(ModelError, match="No model is installed"):
        find_model()
    import_model(make("one").path)
    assert read_card(find_model()).id == "one"
    import_model(make("two").path)
    with pytest.raises(ModelError, match="Several models are installed: one, two"):
        find_model()
    copy_bundle(make("one", "1", "By hand"), home() / "models" / "by-hand")
    with pytest.raises(ModelError, match="'one' means two different models"):
        find_model("one")


def test_versions_that_are_no_numbers(make):
    for version in ("2²", "1.0rc1", "10", "9", "٣", "9" * 90):
        bundle = make("mine", version)
        import_model(bundle.path, bundle.card.sha256)
    assert read_card(find_model("mine")).version == "9" * 90
    assert read_card(find_model("mine@2²")).version == "2²"


def test_a_damaged_copy_is_mended_by_importing_again_and_a_ruin_is_removed_by_its_name(make):
    bundle = make("mine")
    place = import_model(bundle.path).path
    weights = place / bundle.card.members("classifier")[0]
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert import_model(bundle.path).path == place and not ModelBundle(place, read_card(place)).problems()
    (place / "bundle.json").write_text("{")
    with pytest.raises(ModelError, match=f"models remove {place.name}"):
        import_model(bundle.path)
    assert remove_model(place.name) == place and not place.exists()
    assert import_model(bundle.path).path == place


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind here")
def test_a_model_that_is_not_ours_to_read(make):
    place = import_model(make("mine").path).path
    place.chmod(0)
    try:
        (listed,) = [model for model in list_models() if not model.shipped]
    finally:
        place.chmod(0o700)
    assert listed.card is None and "Permission denied" in listed.problem


def test_the_list_in_json_says_what_can_be_verified(make, capsys):
    import_model(make("mine").path)
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["verifiable"]) for row in rows] == [("mine", False), ("lidc-rating", True)]
