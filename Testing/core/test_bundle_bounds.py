"""A stranger's bundle: nothing is unpacked on its word, and whatever is wrong with it is a ModelError that names it."""

import copy
import hashlib
import io
import json
import os
import resource
import struct
import subprocess
import sys
import zipfile

import pytest
import torch
from MAEMCLib.__main__ import main
from MAEMCLib.errors import ModelError
from MAEMCLib.files.atomic import home
from MAEMCLib.models.bundle import Member, ModelBundle, read_card, save_bundle
from MAEMCLib.models.card import ModelCard
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.store import import_model, list_models
from MAEMCLib.models.tensor_header import read_header
from MAEMCLib.report.card import card_text
from MAEMCLib.report.formats import render
from MAEMCLib.report.scores import score_report


@pytest.fixture(scope="module")
def card(random_bundle):
    """The whole of a sound bundle.json."""
    return ModelBundle.open(random_bundle).card.values


def packed(path, files, **options):
    """A zip of {name: bytes}."""
    with zipfile.ZipFile(path, "w", options.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def flipped_flag(data, bit):
    """The zip with a flag bit set in every header of a file."""
    data = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= bit
            at = data.find(mark, at + 1)
    return bytes(data)


def hostile_files(folder, card):
    """{name: path}: bundles that are damaged or meant to do harm, each in its own way."""
    card = {**card, "id": "neighbor"}
    text = json.dumps(card).encode()
    made = {}

    def put(name, data):
        made[name] = folder / f"{name}.maemc"
        made[name].write_bytes(data)

    for kind in ("DEFLATED", "BZIP2", "LZMA"):
        buffer = io.BytesIO()
        packed(buffer, {"bundle.json": text}, compression=getattr(zipfile, f"ZIP_{kind}"))
        data = bytearray(buffer.getvalue())
        put(kind.lower(), bytes(data))
        for place in (60, 80, 200):
            data[place] ^= 0x55
        put(f"damaged-{kind.lower()}", bytes(data))
    plain = io.BytesIO()
    packed(plain, {"bundle.json": text})
    put("encrypted", flipped_flag(plain.getvalue(), 1))
    put("cut-short", plain.getvalue()[:-30])
    put("empty", b"")
    put("deep", packed_bytes({"bundle.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000}))
    put("deep-array", packed_bytes({"bundle.json": b"[" * 3_000_000}))
    put("no-utf8", packed_bytes({"bundle.json": b"\xff\xfe\x00" + text}))
    put("twice", packed_bytes([("bundle.json", text), ("BUNDLE.json", text)]))
    put("many", packed_bytes([("bundle.json", text), *((f"f{n}", b"") for n in range(1500))]))
    digits = dict(card, thresholds={"rule_out": 0.5, "balanced": 0.5, "rule_in": "BIG"})
    put("digits", packed_bytes({"bundle.json": json.dumps(digits).replace('"BIG"', "9" * 400).encode()}))
    unhashable = dict(card, members=[{"role": "classifier", "file": ["a"]}])
    put("unhashable", packed_bytes({"bundle.json": json.dumps(unhashable).encode()}))
    surrogate = dict(card, title="\ud800")
    put("surrogate", packed_bytes({"bundle.json": json.dumps(surrogate).encode()}))
    put("nan", packed_bytes({"bundle.json": json.dumps(dict(card, notes=[float("nan")])).encode()}))
    return made


def packed_bytes(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return buffer.getvalue()


def test_no_neighbor_keeps_the_others_from_being_found(tmp_path, card, random_bundle, capsys):
    models = home() / "models"
    models.mkdir(parents=True)
    hostile = hostile_files(models, card)
    (models / "folder").mkdir()
    (models / "folder" / "bundle.json").mkdir()
    (models / "pipe").mkdir()
    os.mkfifo(models / "pipe" / "bundle.json")
    os.mkfifo(models / "pipe.maemc")
    (models / "loop.maemc").symlink_to(models / "loop.maemc")
    (models / "{0} {reason} %s.maemc").write_bytes(b"PK")
    for path in hostile.values():
        with pytest.raises(ModelError):
            ModelBundle.open(path)
    import_model(random_bundle)
    listed = {model.path.name: model for model in list_models()}
    sound = {name for name, model in listed.items() if model.card}
    assert len(sound) == 3 and "lidc-rating.maemc" in sound  # the card of "deflated" can be read, its files are missing
    assert all(listed[name].problem for name in listed if name not in sound)
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}  cannot be used: " in out for name in listed if name not in sound)


def test_three_gigabytes_of_zeros_are_refused_at_once_in_little_memory(tmp_path, card):
    """The zip is 3 MB; the process may have 1.5 GB."""
    path, size = tmp_path / "bomb.maemc", 3 << 30
    values = copy.deepcopy(card)
    name = values["members"][0]["file"]
    values["files"][name] = {"sha256": "0" * 64, "bytes": size}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("bundle.json", json.dumps(values))
        with archive.open(name, "w", force_zip64=True) as stream:
            for _ in range(24):  # 96 MB, and the rest by a changed number: what is declared is what is judged
                stream.write(bytes(4 << 20))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 96 << 20), struct.pack("<I", size)))
    code = f"from MAEMCLib.models.bundle import ModelBundle\nModelBundle.open({str(path)!r})"

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (1500 << 20, 1500 << 20))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limited, timeout=60)
    assert "ModelError" in done.stderr and "would swell" in done.stderr


def test_a_real_bomb_is_refused_by_import(tmp_path, card, capsys):
    path = tmp_path / "bomb.maemc"
    values = copy.deepcopy(card)
    name = values["members"][0]["file"]
    values["files"][name] = {"sha256": "0" * 64, "bytes": 64 << 20}
    packed(path, {"bundle.json": json.dumps(values).encode(), name: bytes(64 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert main(["models", "import", str(path)]) == 4
    assert "would swell" in capsys.readouterr().err and not (home() / "models").exists()


def test_a_list_of_contents_too_long_is_not_read(tmp_path):
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 40000, 40000, 4 << 20, 0, 0)
    (tmp_path / "long.maemc").write_bytes(bytes(4 << 20) + end)
    with pytest.raises(ModelError, match="list of contents"):
        read_card(tmp_path / "long.maemc")


def header(tensors, size, **metadata):
    text = json.dumps(tensors | metadata).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no safetensors header"),
        (struct.pack("<Q", 1 << 62) + bytes(100), "no safetensors header"),
        (struct.pack("<Q", 5 << 20) + bytes(6 << 20), "no safetensors header"),
        (struct.pack("<Q", 20) + b"{" * 20, "Expecting property name"),
        (header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 9), "do not fill"),
        (header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, 4), "other bytes"),
        (header({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, 8), "does not describe"),
        (header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, 8), "other bytes"),
        (header({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, 8), "unknown type"),
        (header({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}, 8), "does not describe"),
        (header({"a": 3}, 0), "does not describe"),
        (
            header({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in ("a", "b")}, 8),
            "do not fill",
        ),
    ],
)
def test_headers_of_weights_that_state_what_is_not_there(data, words):
    with pytest.raises(ValueError, match=words):
        read_header(io.BytesIO(data), len(data))


def test_the_header_of_real_weights_is_read_as_safetensors_reads_it(random_bundle):
    bundle = ModelBundle.open(random_bundle)
    name = bundle.card.members("classifier")[0]
    shapes = {key: tuple(tensor.shape) for key, tensor in bundle.tensors(name).items()}
    assert {key: entry.shape for key, entry in bundle.header(name).items()} == shapes


@pytest.mark.parametrize(
    "encoder",
    [
        *({"patch_size": 50, "width": 32, "depth": 2, "heads": 4} | change for change in (
            {"depth": 2**31}, {"width": 10**6}, {"heads": 10**5}, {"image_size": 10**6}, {"patch_size": 1},
            {"mlp_ratio": 1e9}, {"position": ["1d"]}, {"width": True}, {"depth": 10**30},
        )),
        {"backbone": "resnet18", "image_size": 10**6},
        {"backbone": ["resnet18"]},
        {"backbone": "vgg"},
        {},
        None,
        [],
        "vit",
    ],
)  # fmt: skip
def test_architectures_out_of_all_bounds(card, encoder):
    if encoder == {}:  # the published network: sound, but no weights of this bundle fit it
        return
    with pytest.raises(ModelError):
        parse(card, architecture={**card["architecture"], "encoder": encoder})


def parse(card, **changes):
    return ModelCard.parse(json.dumps({**card, **changes}).encode(), "0" * 64, "m")


@pytest.mark.parametrize(
    "changes",
    [
        *({"calibration": {"calibrated": True, "slope": slope, "intercept": at}} for slope, at in (
            (-1, 0), (0, 0), (1e6, 0), (-1e308, 0), (1, 50), (1, -50), (1e-9, 0), (True, 0), ("1", 0),
        )),
        *({"thresholds": dict(zip(("rule_out", "balanced", "rule_in"), points, strict=True))} for points in (
            (0.9, 0.5, 0.1), (0.5, 1.0, 1.0), (0.0, 0.0, 0.5), (0.6, 0.5, 0.7), (0.1, 0.5, 0.4), (-0.1, 0.5, 1),
            (0.1, 0.5, 2),
        )),
        *({"preprocessing": settings} for settings in (
            {"window_lower": 0, "window_upper": 0.001}, {"window_lower": 5000, "window_upper": 6000},
            {"window_lower": -9000, "window_upper": 200}, {"window_lower": -2000, "window_upper": 4001},
            {"slice_step_mm": 1e-9}, {"slice_step_mm": 1e9}, {"slice_step_mm": -1}, {"mean": 1e30}, {"std": 1e-30},
            {"mean": -3}, {"std": 1e9}, [], {"mean": "0"},
        )),
        *({"applicability": limits} for limits in (
            {"smallest_diameter_mm": -1e9, "largest_diameter_mm": 1e9}, {"smallest_diameter_mm": 40},
            {"largest_diameter_mm": 1e9}, {"slice_spacing_amber_mm": 9}, {"padded_red": 0.1}, {"padded_red": 9},
            [1], "x",
        )),
        *({"id": name} for name in ("", " ", "a@b", "a/b", "a\\b", "x.maemc", "x" * 200)),
        *({"id": name} for name in ("\x1b]52;c;evil\x07", "a\u202eb")),
        *({"version": name} for name in ("", "1\n2", "\u202e1")),
        {"training_distances": [float(n) for n in range(100)] + [10**300]},
        {"members": [{"role": ["classifier"], "file": "classifier-0.safetensors"}]},
        {"members": [{"role": "classifier", "file": "classifier-0.safetensors"}] * 2},
        {"files": {"a": {"sha256": "g" * 64, "bytes": 1}}},
    ],
)  # fmt: skip
def test_cards_whose_numbers_or_names_make_no_sense(card, changes):
    with pytest.raises(ModelError):
        parse(card, **changes)


def test_equal_thresholds_and_odd_versions_are_sound(card):
    assert parse(card, version="2²").version == "2²"
    thresholds = {"rule_out": 0.0, "balanced": 0.3, "rule_in": 1.0}
    assert parse(card, thresholds=thresholds).threshold == 0.3


WRONG = [
    None,
    True,
    0,
    -1,
    1.5,
    10**15,
    "x",
    "",
    [],
    [1],
    ["x"],
    {},
    {"x": 1},
    {"value": "x"},
    {"value": 1, "low": 0.5},
]


def full_card(card):
    """A card with every part that people are shown."""
    metric = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    point = {"threshold": 0.5, "counts": dict.fromkeys(("tp", "fp", "tn", "fn"), 1),
             "metrics": {"sensitivity": metric, "specificity": metric}}  # fmt: skip
    return {
        **card,
        "limitations": "None known.",
        "licence": "CC0",
        "citation": "",
        "created": "2026",
        "training": {"summary": "s", "data": "d", "attribution": "a", "protocol": "honest", "folds": 3, "seed": 1,
                     "leaky": False, "pretraining_of_folds": "in-fold", "prior_in_probability": 0.5, "prevalence": 0.5},
        "metrics": {"auc": metric, "npv": {"value": None, "low": None, "high": None, "n": 0}},
        "baselines": {"size alone": {"auc": metric, "accuracy": metric}},
        "operating_points": {"balanced": point},
        "notes": ["A note."],
        "software": {"torch": "2.0"},
        "reference": {"case": "synthetic-1", "logits": [[1.0]]},
        "applicability": {"smallest_diameter_mm": 5, "largest_diameter_mm": 20},
        "input": "nodule",
    }  # fmt: skip


def mutants(value, depth=3):
    """Every part of a card replaced by something of another kind, one at a time."""
    for key in list(value):
        for wrong in WRONG:
            yield {**value, key: wrong}
        yield {other: value[other] for other in value if other != key}
        if isinstance(value[key], dict) and depth:
            for inner in mutants(value[key], depth - 1):
                yield {**value, key: inner}


def test_a_card_is_refused_when_it_is_read_or_shown_without_an_error(card):
    """The contract of ``ModelCard.parse``: what it lets through, ``models show`` and the report can print."""
    shown = refused = 0
    for values in mutants(full_card(card)):
        try:
            parsed = ModelCard.parse(json.dumps(values).encode(), "0" * 64, "m")
        except ModelError:
            refused += 1
            continue
        assert card_text(parsed).encode() and render(score_report([], parsed), "html").encode()
        shown += 1
    assert shown > 100 and refused > 1000


def test_weights_that_do_not_fit_are_not_imported(tmp_path, random_card, random_members, capsys):
    wider = {**random_card, "architecture": {"encoder": {"patch_size": 50, "width": 64, "depth": 2, "heads": 4}}}
    path = save_bundle(tmp_path / "wide.maemc", wider, random_members[:3]).path
    assert main(["models", "import", str(path)]) == 4
    assert "do not fit its architecture" in capsys.readouterr().err and not list((home()).rglob("bundle.json"))


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn, torch.bool])
def test_weights_that_are_no_plain_floating_numbers(tmp_path, random_card, random_members, kind):
    tensors = {name: tensor.to(kind) for name, tensor in random_members[0].tensors.items()}
    bundle = save_bundle(tmp_path / "m", random_card, [Member("classifier", "c", tensors)])
    with pytest.raises(ModelError, match="do not fit"):
        Predictor(bundle, "cpu")


def test_sizes_in_a_folder_are_judged_like_a_zips(tmp_path, card):
    folder = tmp_path / "m"
    folder.mkdir()
    values = copy.deepcopy(card)
    for name in values["files"]:
        values["files"][name] = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 40 << 30}
        with (folder / name).open("wb") as stream:
            stream.truncate(40 << 30)  # takes no place on the disk
    (folder / "bundle.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="GiB"):
        ModelBundle.open(folder)
    for name in values["files"]:
        values["files"][name]["bytes"] = 3 << 30
        (folder / name).open("r+b").truncate(3 << 30)
    (folder / "bundle.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="no readable weights"):
        ModelBundle.open(folder)
