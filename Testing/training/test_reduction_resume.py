"""``maemc-train reduce`` that was interrupted goes on where it was, and to the same files."""

import dataclasses
import json
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import timm
import torch
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.reduction.partial import Partial
from PIL import Image
from safetensors.torch import save_file

SSIM = ("--method", "ssim", "--threshold", "0.9", "--selection", "pairwise")
HASH = ("--method", "hash")


def waves(seed, shift, side):
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    value = sum(np.sin(a * x + b * y + c + shift) for a, b, c in draws.uniform(-12, 12, (5, 3)))
    return np.clip(128 + 40 * value, 0, 255).astype(np.uint8)


def make_manifest(folder, balls, volumes, slices, side=64):
    """Volumes of pictures; in the second a slice is damaged and the fourth has two sizes. Then a CT."""
    folder.mkdir(parents=True)
    rows = []
    for volume in range(volumes):
        for index in range(slices):
            path = folder / f"{volume}-{index}.png"
            Image.fromarray(waves(volume, 0.3 * index, side + (volume == 3 and index == 1))).save(path)
            extra = {"volume_id": f"v{volume}", "slice_index": str(index)}
            rows.append(Case(f"c{volume}-{index}", f"p{volume}", path, "slice", values=extra))
    damaged = folder / "1-2.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    return write_manifest(folder / "m.csv", [*rows, read_manifest(balls).rows[0]])


@pytest.fixture
def manifest(tmp_path, balls):
    return make_manifest(tmp_path / "data", balls, volumes=5, slices=6)


def reduce(manifest, folder, *words):
    return main(["reduce", str(manifest), "--output", str(folder / "reduced.csv"), *words])


def results(folder):
    """The files' contents; nothing else is left in the folder."""
    names = ["reduced-removed.csv", "reduced-summary.json", "reduced.csv"]
    assert sorted(path.name for path in folder.iterdir()) == names
    return [(folder / name).read_bytes() for name in names]


def looked_at(*words):
    """The exit code: by place alone nobody notices that a picture is damaged."""
    return 0 if "every-n" in words else 3


def partial_lines(folder):
    path = folder / "reduced-partial.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.is_file() else []


def all_but_written(manifest, folder, *words):
    """A run that did every volume and could not write its result."""
    (folder / "reduced.csv" / "in the way").mkdir(parents=True)
    assert reduce(manifest, folder, *words) == 3
    (folder / "reduced.csv" / "in the way").rmdir()
    (folder / "reduced.csv").rmdir()
    return partial_lines(folder)


def compared(capsys):
    """[volumes that were done already, all volumes], as the progress begins."""
    first = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("{"))
    told = json.loads(first)
    return [round(told["share"] * told["volumes"]), told["volumes"]]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_was_ended_is_continued_to_the_same_bytes(tmp_path, balls, how, capsys):
    manifest = make_manifest(tmp_path / "data", balls, volumes=7, slices=40, side=96)
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "MAEMCTrainingLib", "reduce", manifest, "--output", folder / "reduced.csv", *SSIM]

    def heed_interrupts():  # what runs in the background of a shell, as these tests may, inherits that it ignores them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    running = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    while len(partial_lines(folder)) < 3:
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.002)
    running.send_signal(how)
    said, complained = running.communicate(timeout=20)
    done = len(partial_lines(folder)) - 1
    assert said == "" and 2 <= done < 7
    assert [path.name for path in folder.iterdir()] == ["reduced-partial.jsonl"]
    if how == signal.SIGINT:
        assert running.returncode == 130 and "Traceback" not in complained
        assert (
            f"Stopped. {done} of 8 volumes are done and kept in reduced-partial.jsonl: the same command" in complained
        )
    assert reduce(manifest, folder, *SSIM, "--progress-json") == 3
    assert compared(capsys) == [done, 8]
    assert reduce(manifest, tmp_path / "whole", *SSIM) == 3
    assert results(folder) == results(tmp_path / "whole")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(SSIM, marks=pytest.mark.soak),  # as mi: each pair is compared
        HASH,
        ("--method", "every-n", "--every", "4"),
        ("--method", "mi", "--keep", "0.4"),
    ],
)
def test_any_line_may_be_torn(manifest, tmp_path, words, capsys):
    assert reduce(manifest, tmp_path / "whole", *words) == looked_at(*words)
    task, *lines = all_but_written(manifest, tmp_path / "full", *words)
    assert len(lines) == (6 if "every-n" in words else 5), "all volumes but that of two sizes, which is read again"
    contents = [task + b"".join(lines[:number]) for number in range(len(lines) + 1)]
    contents += [task[:-5], task + lines[0][:-1], task + lines[0] + lines[1][:20], task + lines[0] + bytes(30)]
    contents += [task + lines[0] + b"\0\n" + lines[2]]  # what some disks leave after a power cut
    for number, content in enumerate(contents):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "reduced-partial.jsonl").write_bytes(content)
        assert reduce(manifest, folder, *words, "--quiet") == looked_at(*words)
        assert results(folder) == results(tmp_path / "whole"), content[-40:]


def test_a_torn_line_is_cut_off_before_the_next_is_written(manifest, tmp_path):
    task, *lines = all_but_written(manifest, tmp_path / "full", *HASH)
    folder = tmp_path / "out"
    (folder / "reduced.csv" / "in the way").mkdir(parents=True)
    (folder / "reduced-partial.jsonl").write_bytes(task + lines[0] + lines[1][:20])
    assert reduce(manifest, folder, *HASH) == 3
    assert partial_lines(folder) == [task, *lines]


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "ssim", "--threshold", "0.8", "--selection", "pairwise"),
        ("--method", "ssim", "--threshold", "0.9", "--selection", "leader"),
        ("--method", "ssim", "--keep", "0.5"),
        ("--method", "mi", "--threshold", "1.2"),
        ("--method", "every-n", "--every", "2"),
    ],
)
def test_other_settings_begin_anew(manifest, tmp_path, words, capsys):
    all_but_written(manifest, tmp_path / "out", *SSIM)
    assert reduce(manifest, tmp_path / "out", *words, "--progress-json") == looked_at(*words)
    error = capsys.readouterr().err
    assert "reduced-partial.jsonl is of other settings, data or software: all volumes are compared anew." in error
    assert '"volume": 1,' in error
    assert reduce(manifest, tmp_path / "fresh", *words) == looked_at(*words)
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


def test_every_other_n_begins_anew(manifest, tmp_path):
    all_but_written(manifest, tmp_path / "out", "--method", "every-n", "--every", "2")
    assert reduce(manifest, tmp_path / "out", "--method", "every-n", "--every", "3") == 0
    assert reduce(manifest, tmp_path / "fresh", "--method", "every-n", "--every", "3") == 0
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


def test_other_weights_begin_anew(manifest, tmp_path):
    """A file of the same name with other content."""
    small = write_manifest(tmp_path / "small.csv", read_manifest(manifest).rows[:3])
    weights = tmp_path / "model.safetensors"
    words = ("--method", "deepnet", "--keep", "0.4", "--weights", str(weights), "--device", "cpu")
    tasks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file(timm.create_model("resnet50", pretrained=False).state_dict(), weights)
        tasks += all_but_written(small, tmp_path / "out", *words)[:1]
    assert tasks[0] != tasks[1]


def test_another_manifest_begins_anew(manifest, tmp_path, capsys):
    """One more row at the beginning: the same volumes stand in other places."""
    all_but_written(manifest, tmp_path / "out", *HASH)
    header, *lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([header, *lines[6:12], *lines[:6], *lines[12:]]))
    assert reduce(manifest, tmp_path / "out", *HASH, "--progress-json") == 3
    assert compared(capsys)[0] == 0
    assert reduce(manifest, tmp_path / "fresh", *HASH) == 3
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


@pytest.mark.parametrize("change", ["other", "gone", "mended", "ct"])
def test_volumes_whose_files_changed_are_compared_anew(manifest, balls, tmp_path, change, capsys):
    if change == "ct":
        rows = read_manifest(manifest).rows
        copy = tmp_path / "data" / rows[-1].image.name
        copy.write_bytes(rows[-1].image.read_bytes())
        write_manifest(manifest, [*rows[:-1], dataclasses.replace(rows[-1], image=copy)])
    all_but_written(manifest, tmp_path / "out", *HASH)
    capsys.readouterr()
    if change == "other":
        Image.fromarray(waves(99, 0.0, 64)).save(manifest.parent / "0-3.png")
    elif change == "gone":
        (manifest.parent / "0-3.png").unlink()
    elif change == "mended":
        Image.fromarray(waves(1, 0.6, 64)).save(manifest.parent / "1-2.png")
    else:
        copy.write_bytes(read_manifest(balls).rows[1].image.read_bytes())
    code = reduce(manifest, tmp_path / "out", *HASH, "--progress-json")
    assert compared(capsys) == [4, 6], "one volume changed, one could not be used before"
    assert reduce(manifest, tmp_path / "fresh", *HASH) == code == 3
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


def test_lines_of_another_command_at_the_same_output_are_not_taken_up(manifest, tmp_path, capsys):
    _, *others = all_but_written(manifest, tmp_path / "other", *SSIM)
    task, *lines = all_but_written(manifest, tmp_path / "out", *HASH)
    (tmp_path / "out" / "reduced-partial.jsonl").write_bytes(b"".join([task, lines[0], *others, *lines[1:2]]))
    capsys.readouterr()
    assert reduce(manifest, tmp_path / "out", *HASH, "--progress-json") == 3
    assert compared(capsys) == [2, 6]
    assert reduce(manifest, tmp_path / "fresh", *HASH) == 3
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


CHANGES = {
    "volume -1": {"volume": -1}, "volume a text": {"volume": "1"}, "volume far off": {"volume": 999},
    "kept far off": {"kept": [0, 7000]}, "kept less": {"kept": [0]},
}  # fmt: skip


@pytest.mark.parametrize("change", [*CHANGES, "list", "deep", "twice", "not a number"])
def test_a_line_that_was_changed_is_not_taken_up(change, manifest, tmp_path, capsys):
    task, first, second, *_ = all_but_written(manifest, tmp_path / "out", *HASH)
    record = json.loads(second)
    bad = {
        "list": b"[1]\n", "deep": b"[" * 100_000 + b"\n", "twice": first,
        "not a number": second.replace(b'"volume": 1', b'"volume": NaN'),
    }.get(change) or json.dumps({**record, **CHANGES[change]}).encode() + b"\n"  # fmt: skip
    assert bad != second
    (tmp_path / "out" / "reduced-partial.jsonl").write_bytes(task + first + bad)
    capsys.readouterr()
    assert reduce(manifest, tmp_path / "out", *HASH, "--progress-json") == 3
    assert compared(capsys) == [1, 6], "the first volume alone was taken up"


def test_another_version_of_ours_begins_anew(tmp_path, monkeypatch):
    import MAEMCLib

    partial = Partial(tmp_path / "reduced.csv", "sha", {"method": "hash"})
    partial.path.write_bytes(partial._task)
    assert not Partial(tmp_path / "reduced.csv", "sha", {"method": "hash"}).of_another_task
    monkeypatch.setattr(MAEMCLib, "__version__", "tomorrow's")
    assert Partial(tmp_path / "reduced.csv", "sha", {"method": "hash"}).of_another_task


def test_what_an_earlier_run_did_is_kept_until_a_volume_is_done(manifest, tmp_path):
    """Another method by mistake, refused or stopped at once, loses nothing."""
    before = all_but_written(manifest, tmp_path / "out", *HASH)
    assert reduce(manifest, tmp_path / "out", "--method", "deepnet", "--keep", "0.4") == 2
    assert partial_lines(tmp_path / "out") == before


def test_a_disk_that_is_full_is_named_and_what_was_done_stays(manifest, tmp_path):
    task, first, *_ = all_but_written(manifest, tmp_path / "out", *SSIM)
    (tmp_path / "out" / "reduced-partial.jsonl").write_bytes(task + first)
    room = len(task + first) + 100

    def full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    command = [
        sys.executable,
        "-m",
        "MAEMCTrainingLib",
        "reduce",
        manifest,
        "--output",
        tmp_path / "out" / "reduced.csv",
    ]
    done = subprocess.run(
        list(map(str, [*command, *SSIM])), capture_output=True, text=True, preexec_fn=full_disk, check=False
    )
    assert done.returncode == 3
    assert "reduced-partial.jsonl could not be written" in done.stderr and "Traceback" not in done.stderr
    assert reduce(manifest, tmp_path / "out", *SSIM) == reduce(manifest, tmp_path / "fresh", *SSIM) == 3
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


def test_a_partial_file_that_cannot_be_read_is_named(manifest, tmp_path, capsys):
    (tmp_path / "out" / "reduced-partial.jsonl").mkdir(parents=True)
    assert reduce(manifest, tmp_path / "out", *HASH) == 3
    error = capsys.readouterr().err
    assert "reduced-partial.jsonl cannot be read" in error and "Traceback" not in error


def test_progress_for_programs(manifest, tmp_path, capsys):
    """An object a line; the first says where it begins, the last that all is done; the rest is as ever."""
    assert reduce(manifest, tmp_path / "out", *SSIM, "--progress-json") == 3
    said, complained = capsys.readouterr()
    assert said.splitlines()[-1].endswith("reduced.csv")
    told = [json.loads(line) for line in complained.splitlines() if line.startswith("{")]
    assert told[0] == {"volume": 1, "volumes": 6, "share": 0.0, "seconds_left": None}
    assert told[-1] == {"volume": 6, "volumes": 6, "share": 1.0, "seconds_left": 0}
    assert [line[:9] for line in complained.splitlines() if not line.startswith("{")] == ["left out "] * 2
