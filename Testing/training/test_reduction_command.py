"""``maemc-train reduce`` as it is typed: pictures and CTs, order, what is written, what is refused and how."""

import contextlib
import csv
import json
import os
import pty
import signal
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.images.ct import axial_slices
from MAEMCLib.images.files import read_volume
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers.formats.images import import_images
from MAEMCTrainingLib.reduction.hash import difference_hash
from MAEMCTrainingLib.reduction.slices import read_picture
from PIL import Image


def smooth(seed, side=48, shift=0.0):
    """A picture of waves; nearby shifts look alike."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    value = sum(np.sin(a * x + b * y + c + shift) for a, b, c in draws.uniform(-12, 12, (5, 3)))
    return np.clip(128 + 40 * value, 0, 255).astype(np.uint8)


def stack(folder, volume_id, pictures, indices=None, patient=None, prefix="", **columns):
    """Rows of one volume of pictures, saved."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, pixels in enumerate(pictures):
        index = str(indices[place] if indices else place)
        path = folder / f"{volume_id}_{index}.png"
        Image.fromarray(pixels).save(path)
        extra = {"volume_id": volume_id, "slice_index": index, **columns}
        rows.append(Case(f"{prefix}{volume_id}-{index}", patient or f"p-{volume_id}", path, "slice", values=extra))
    return rows


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def reduce(manifest, output, *words):
    return main(["reduce", str(manifest), "--output", str(output), *map(str, words)])


def kept(path):
    return [row.case_id for row in read_manifest(path).rows]


def results(folder, name="reduced"):
    return [(folder / f"{name}{end}").read_bytes() for end in (".csv", "-removed.csv", "-summary.json")]


@pytest.fixture
def pictures(tmp_path):
    """12 slices in three groups that look alike, then one volume of one slice; rows in the order of file names."""
    first = [smooth(seed, shift=0.02 * step) for seed in (1, 2, 3) for step in range(4)]
    rows = stack(tmp_path / "png", "v", first) + stack(tmp_path / "png", "single", [smooth(9)])
    rows = sorted(rows, key=lambda row: row.image.name)
    assert [row.case_id for row in rows[:5]] == ["single-0", "v-0", "v-1", "v-10", "v-11"]
    return write_manifest(tmp_path / "m.csv", rows)


def test_hash_on_pictures(pictures, tmp_path, capsys):
    assert reduce(pictures, tmp_path / "out" / "reduced.csv", "--method", "hash", "--threshold", 6) == 0
    found = read_manifest(tmp_path / "out" / "reduced.csv")
    assert kept(found.path) == ["single-0", "v-0", "v-4", "v-8"]
    assert {row.kind for row in found.rows} == {"slice"} and found.rows[1].patient_id == "p-v"
    assert found.rows[2].values["slice_index"] == "4" and found.rows[2].image == tmp_path / "png" / "v_4.png"
    hashes = {row.case_id: int(difference_hash(read_picture(row.image))) for row in read_manifest(pictures).rows}
    removed = table(tmp_path / "out" / "reduced-removed.csv")
    assert [row["case_id"] for row in removed] == [f"v-{index}" for index in (1, 2, 3, 5, 6, 7, 9, 10, 11)]
    for row in removed:
        assert row["kept"] == row["because_of"] == str(int(row["slice_index"]) // 4 * 4)
        assert row["measure"] == "Hamming distance"
        assert int(row["value"]) == (hashes[row["case_id"]] ^ hashes[row["kept_case_id"]]).bit_count() <= 6
    summary = json.loads((tmp_path / "out" / "reduced-summary.json").read_text())
    assert summary["settings"]["threshold"] == 6 and summary["settings"]["selection"] == "leader"
    assert (summary["slices"], summary["kept"], summary["window_hu"], summary["left_out"]) == (13, 4, None, [])
    printed = capsys.readouterr().out
    assert "all 2 volumes" in printed and "harms masked methods" in printed and "not for clinical use" in printed
    assert printed.splitlines()[-1].endswith("reduced.csv")


def test_slice_order_and_not_that_of_rows_or_files(pictures, tmp_path):
    header, *lines = pictures.read_text().splitlines()
    for number, order in enumerate((lines, lines[::-1])):
        path = tmp_path / f"m{number}.csv"
        path.write_text("\n".join([header, *order]))
        assert reduce(path, tmp_path / f"{number}" / "reduced.csv", "--method", "hash", "--quiet") == 0
    first, second = (kept(tmp_path / f"{number}" / "reduced.csv") for number in (0, 1))
    assert sorted(first) == sorted(second) and [case for case in second if case != "single-0"] == ["v-0", "v-4", "v-8"]
    assert reduce(pictures, tmp_path / "again" / "reduced.csv", "--method", "hash", "--quiet") == 0
    assert results(tmp_path / "again")[1:] == results(tmp_path / "0")[1:]


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--method", "all"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (["--method", "every-n"], [0, 10]),
        (["--method", "every-n", "--every", 5], [0, 5, 10]),
        (["--method", "hash", "--selection", "pairwise"], [0, 4, 8]),
        (["--method", "ssim", "--keep", 0.25], [0, 4, 8]),
        (["--method", "mi", "--keep", 0.25], [0, 4, 8]),
        (["--method", "ssim", "--threshold", 0.9], [0, 4, 8]),
        (["--method", "mi", "--threshold", 1.25, "--selection", "pairwise"], [0, 4, 8]),
        (["--method", "hash", "--keep", 0.01], [0]),
    ],
)
def test_methods_on_pictures(pictures, tmp_path, words, expected):
    assert reduce(pictures, tmp_path / "out" / "reduced.csv", *words, "--quiet") == 0
    assert kept(tmp_path / "out" / "reduced.csv") == ["single-0", *(f"v-{index}" for index in expected)]


def test_deepnet_offline_says_what_to_bring(pictures, tmp_path, capsys):
    assert reduce(pictures, tmp_path / "reduced.csv", "--method", "deepnet", "--keep", 0.1) == 2
    error = capsys.readouterr().err
    assert "https://huggingface.co/timm/resnet50.a1_in1k" in error and "--weights" in error
    assert not (tmp_path / "reduced.csv").exists()


def test_slices_of_a_ct(balls, tmp_path, capsys):
    """Rows of nodules: each CT once, its slices by their place towards S, the window beside them."""
    source = read_manifest(balls).rows[:2]
    rows = [
        source[0],
        Case("second nodule", source[0].patient_id, source[0].image, label=1, point_lps=(1, 1, 1)),
        source[1],
    ]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    output = tmp_path / "out" / "reduced.csv"
    assert reduce(manifest, output, "--method", "hash") == 0
    found = read_manifest(output).rows
    assert len(found) == len({row.case_id for row in found}) and {row.kind for row in found} == {"slice"}
    slices = axial_slices(read_volume(source[0].image))
    hashes = [int(difference_hash(pixels)) for pixels in slices]
    expected, remaining = [], list(range(len(hashes)))
    while remaining:
        expected.append(remaining[0])
        remaining = [i for i in remaining if (hashes[i] ^ hashes[expected[-1]]).bit_count() > 6]
    assert [int(row.values["slice_index"]) for row in found if row.image == source[0].image] == expected
    first, last = found[0], found[-1]
    assert (first.patient_id, first.label, first.values["volume_id"]) == (source[0].patient_id, None, "case-0")
    assert last.label == source[1].label == 1  # the two nodules of the first CT contradict each other
    assert (first.values["window_lower_hu"], first.values["window_upper_hu"]) == ("-1200", "200")
    assert json.loads((tmp_path / "out" / "reduced-summary.json").read_text())["window_hu"] == [-1200.0, 200.0]
    assert "all 2 volumes" in capsys.readouterr().out
    # What was written can be reduced further, and then nothing more goes.
    assert reduce(output, tmp_path / "twice.csv", "--method", "hash", "--quiet") == 0
    assert kept(tmp_path / "twice.csv") == [row.case_id for row in found]


def test_a_dicom_series_counts_from_below(tmp_path):
    """A series of the phantom, whatever its files are called: slice 0 is the lowest."""
    words = ["--cases", "1", "--dicom", "--processes", "1", "--quiet"]
    assert main(["phantom", "--output", str(tmp_path / "p"), *words]) == 0
    output = tmp_path / "reduced.csv"
    assert reduce(tmp_path / "p" / "manifest.csv", output, "--method", "all", "--quiet") == 0
    found = read_manifest(output).rows
    files = [pydicom.dcmread(path) for path in found[0].image.rglob("*") if path.is_file()]
    files.sort(key=lambda item: item.ImagePositionPatient[2])
    assert [row.values["slice_index"] for row in found] == [str(index) for index in range(len(files))]
    gray = axial_slices(read_volume(found[0].image))
    for index in (0, len(files) - 1):
        hu = files[index].pixel_array * float(files[index].RescaleSlope) + float(files[index].RescaleIntercept)
        assert np.abs(gray[index] - np.clip((hu + 1200) / 1400 * 255, 0, 255)).max() <= 0.5


def test_bad_slices_are_named_and_the_run_goes_on(tmp_path, capsys):
    folder = tmp_path / "png"
    rows = stack(folder, "good", [smooth(1), smooth(2), smooth(3)])
    rows += stack(folder, "mixed", [smooth(1), smooth(2, 32), smooth(3)])
    rows += stack(folder, "twice", [smooth(1), smooth(2)], [4, 4.0])
    rows += stack(folder, "order", [smooth(1), smooth(2)], ["7", "seven"])
    rows += stack(folder, "deep", [smooth(1).astype(np.uint16) * 200])
    rows += [Case("picture", "p", folder / "good_0.png", "image")]
    (folder / "good_1.png").write_bytes((folder / "good_1.png").read_bytes()[:300])
    (folder / "good_2.png").unlink()
    manifest = write_manifest(tmp_path / "m.csv", rows)
    assert reduce(manifest, tmp_path / "reduced.csv", "--method", "hash") == 3
    assert kept(tmp_path / "reduced.csv") == ["good-0", "order-7"]
    error = capsys.readouterr().err
    for line in (
        "left out good-1: it is no PNG or JPEG, damaged or cut short",
        "left out good-2: the file is not there",
        "left out volume mixed: its slices differ in size: 2 have 48 x 48 pixels, but not slice 1 (32 x 32)",
        "left out volume twice: it has more than one slice with the slice_index 4",
        "left out order-seven: its slice_index 'seven' is no number",
        "left out deep-0: it has more than 8 bits a pixel",
        "left out picture: of the kind image, it belongs to no volume",
    ):
        assert line in error
    summary = json.loads((tmp_path / "reduced-summary.json").read_text())
    codes = {item["case_id"] or item["volume_id"]: item["code"] for item in summary["left_out"]}
    assert (
        codes["good-1"] == "unreadable"
        and codes["mixed"] == "sizes"
        and codes["twice"] == codes["order-seven"] == "order"
    )


def test_constant_slices(tmp_path):
    """Air above and below the patient: one slice of it stays; nothing is infinite."""
    air = [np.zeros((32, 32), np.uint8)] * 3
    manifest = write_manifest(tmp_path / "m.csv", stack(tmp_path / "png", "v", [*air, smooth(1, 32), *air]))
    for method, threshold in (("hash", 6), ("ssim", 0.99), ("mi", 2)):
        output = tmp_path / method / "reduced.csv"
        assert reduce(manifest, output, "--method", method, "--threshold", threshold, "--quiet") == 0
        assert kept(output) == ["v-0", "v-3"]
        values = [float(row["value"]) for row in table(output.with_name("reduced-removed.csv"))]
        assert len(values) == 5 and np.isfinite(values).all()


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["--method", "hash", "--threshold", "65"], 2, "a whole number from 0 to 64"),
        (["--method", "hash", "--threshold", "nan"], 2, "a whole number from 0 to 64"),
        (["--method", "ssim", "--threshold", "2"], 2, "a number from -1 to 1"),
        (["--method", "mi"], 2, "--keep 0.1"),
        (["--method", "hash", "--keep", "0"], 2, "above 0 and up to 1"),
        (["--method", "hash", "--keep", "0.1", "--selection", "leader"], 2, "goes by pairs"),
        (["--method", "hash", "--every", "3"], 2, "--every goes with"),
        (["--method", "every-n", "--every", "0"], 2, "--every is 0"),
        (["--method", "every-n", "--threshold", "3"], 2, "goes by position"),
        (["--method", "hash", "--weights", "x"], 2, "--weights goes with"),
    ],
)
def test_requests_that_are_refused(pictures, tmp_path, capsys, words, code, message):
    assert reduce(pictures, tmp_path / "reduced.csv", *words) == code
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and not (tmp_path / "reduced.csv").exists()


def test_manifests_that_are_refused(pictures, tmp_path, capsys):
    text = pictures.read_text()
    lacking = tmp_path / "lacking.csv"
    lacking.write_text(text.replace("volume_id", "series").replace("slice_index", "number"))
    images = write_manifest(tmp_path / "images.csv", [Case("a", "p", tmp_path / "png" / "v_0.png", "image")])
    broken = write_manifest(tmp_path / "broken.csv", stack(tmp_path / "bad", "v", [smooth(1)]))
    (tmp_path / "bad" / "v_0.png").write_bytes(b"")
    for manifest, message in (
        (lacking, "lacks the columns volume_id, slice_index"),
        (images, "Rows of the kind slice need the columns volume_id and slice_index"),
        (broken, "No volume of"),
        (tmp_path / "none.csv", "There is no manifest"),
    ):
        assert reduce(manifest, tmp_path / "out.csv", "--method", "hash") == 3
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error and not (tmp_path / "out.csv").exists()
    assert reduce(pictures, pictures, "--method", "hash") == 2
    assert "is the manifest itself" in capsys.readouterr().err and pictures.read_text() == text


def test_ssim_names_a_volume_below_its_window(tmp_path, capsys):
    rows = stack(tmp_path / "png", "small", [smooth(1, 10)]) + stack(tmp_path / "png", "v", [smooth(1)])
    assert reduce(write_manifest(tmp_path / "m.csv", rows), tmp_path / "r.csv", "--method", "ssim", "--keep", 0.5) == 3
    assert "left out volume small: its slices have 10 x 10 pixels" in capsys.readouterr().err
    assert kept(tmp_path / "r.csv") == ["v-0"]


def test_time_left_and_ctrl_c(tmp_path):
    """A real process on a terminal: it says how long it takes, and stops without leaving anything behind."""
    rows = stack(tmp_path / "png", "v", [smooth(seed, 160) for seed in range(300)])
    manifest = write_manifest(tmp_path / "m.csv", rows)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "reduced.csv"
    terminal, inside = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "MAEMCTrainingLib",
        "reduce",
        manifest,
        "--output",
        output,
        "--method",
        "ssim",
        "--keep",
        "0.1",
    ]

    def heed_interrupts():  # what runs in the background of a shell, as these tests may, inherits that it ignores them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    running = subprocess.Popen(
        list(map(str, command)), stderr=inside, stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    os.close(inside)
    said = b""
    while b" left" not in said:
        said += os.read(terminal, 1000)
    running.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # Linux ends a terminal with an error
        while chunk := os.read(terminal, 1000):
            said += chunk
    os.close(terminal)
    assert running.wait(20) == 130 and running.stdout.read() == ""
    running.stdout.close()
    assert (
        b"Comparing volume 1 of 1" in said
        and b"Stopped before a volume was done. Nothing was written" in said
        and b"Traceback" not in said
    )
    assert list(output.parent.iterdir()) == []


def test_lidc_slices_grouped_by_patient_and_nodule(lidc_slices, tmp_path):
    """Real slices, the published procedure as an independent count; both selections keep no two that are alike."""
    rows = [row for row in import_images(lidc_slices, tmp_path / "files").rows if row.patient_id < "LIDC-IDRI-0100"]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    hashes, volumes = {}, {}
    for row in rows:
        small = np.asarray(Image.open(row.image).convert("L").resize((9, 8), Image.Resampling.LANCZOS))
        hashes[row.case_id] = (small[:, 1:] > small[:, :-1]).ravel()
        volumes.setdefault(row.values["volume_id"], []).append((int(row.values["slice_index"]), row.case_id))
    expected = []
    for members in volumes.values():
        remaining = [case for _, case in sorted(members)]
        while remaining:
            expected.append(remaining[0])
            remaining = [case for case in remaining if (hashes[case] ^ hashes[expected[-1]]).sum() > 6]
    assert reduce(manifest, tmp_path / "leader.csv", "--method", "hash", "--threshold", 6, "--quiet") == 0
    assert kept(tmp_path / "leader.csv") == expected and len(volumes) < len(expected) < len(rows)
    assert reduce(manifest, tmp_path / "pairs.csv", "--method", "hash", "--selection", "pairwise", "--quiet") == 0
    pairs = set(kept(tmp_path / "pairs.csv"))
    for members in volumes.values():
        cases = [case for _, case in members if case in pairs]
        assert all((hashes[a] ^ hashes[b]).sum() > 6 for a in cases for b in cases if a < b)
    print(f"{len(rows)} slices of {len(volumes)} nodules: leader {len(expected)}, pairwise {len(pairs)}")
