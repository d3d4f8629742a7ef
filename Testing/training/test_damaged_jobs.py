"""Job folders that a disk, a copy or a hand has spoilt: named, refused or passed over, and no other job notices."""

import json
import os
import shutil

import pytest
import torch
from MAEMCLib.errors import InputError, MAEMCError, ModelError
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.engine import checkpoints
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.engine.optimization import NamedParameter, build_optimizer
from MAEMCTrainingLib.jobs.files import EventLog, read_settings, read_state
from MAEMCTrainingLib.jobs.job import Job, open_job
from MAEMCTrainingLib.jobs.stopping import StopRequest
from safetensors.torch import load_file, save_file

COMMAND = {"arguments": ["pretrain", "--output", "x"], "directory": "."}
SETTINGS = {"configuration": {"epochs": 3}, "data_fingerprint": "f"}


def make(folder, home):
    with open_job(folder, "pretrain", COMMAND, home, StopRequest()) as job:
        job.declare(SETTINGS)
        job.update(step=3, steps=10)
    return folder


STATES = {
    "a list": "[]", "a text": '"finished"', "null": "null", "half": '{"status": "run', "no UTF-8": b"\xff\xfe\x00",
    "NaN": {"step": float("nan")},
    "infinite": '{"status": "running", "updated": "2026-01-01T00:00:00+00:00", "step": 1e999}',
    "deep": "[" * 100_000, "huge": " " * (2 << 20), "endless": {"step": 10**400}, "no status": {"status": None},
    "unknown status": {"status": "done"}, "status a list": {"status": ["running"]}, "step a text": {"step": "3"},
    "steps negative": {"steps": -4}, "parts zero": {"parts": 0}, "parts a text": {"parts": "2"},
    "epoch true": {"epoch": True},
    "never updated": {"status": "queued", "updated": "yesterday"}, "without zone": {"updated": "2026-01-01T00:00:00"},
    "message an object": {"message": {}}, "stage a number": {"stage": 4}, "time left a text": {"seconds_left": "soon"},
}  # fmt: skip
SETTINGS_FILES = {
    "a list": "[]", "a text": '"job"', "half": '{"schema": 2, "kind"', "no UTF-8": b"\xff", "deep": "[" * 100_000,
    "kind a number": {"kind": 5}, "command a list": {"command": []},
    "arguments a text": {"command": {"arguments": "x"}},
    "arguments of numbers": {"command": {"arguments": [1]}}, "created null": {"created": None},
    "schema": {"schema": "2"},
    "configuration a list": {"configuration": []}, "created a text": {"created": "today"},
}  # fmt: skip


def spoil(path, content):
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    "name, content",
    [("state.json", content) for content in STATES.values()]
    + [("job.json", content) for content in SETTINGS_FILES.values()],
    ids=[f"state {key}" for key in STATES] + [f"job {key}" for key in SETTINGS_FILES],
)
def test_a_damaged_job_is_listed_beside_the_others(name, content, tmp_path, maemc_home, capsys):
    sound = [make(tmp_path / "first", maemc_home), make(tmp_path / "third", maemc_home)]
    bad = make(tmp_path / "second", maemc_home)
    spoil(bad / name, content)
    assert main(["jobs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[-1].startswith("damaged: ") and lines[-1].endswith(str(bad))
    assert [line.split()[0] for line in lines[:2]] == ["finished", "finished"]
    assert all(any(line.endswith(str(folder)) for line in lines[:2]) for folder in sound)
    assert main(["jobs", "show", str(bad)]) == 3
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1 and name in told.err
    with pytest.raises(InputError):
        Job(bad).status, Job(bad).settings


@pytest.mark.parametrize("key", ["status", "updated"])
def test_a_state_that_lacks_a_key(key, tmp_path, maemc_home):
    folder = make(tmp_path / "job", maemc_home)
    state = read_state(folder)
    del state[key]
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=f"{key} is missing"):
        read_state(folder)


def test_notes_of_where_jobs_lie_may_be_damaged_too(tmp_path, maemc_home, capsys):
    folder = make(tmp_path / "job", maemc_home)
    for number, text in enumerate(("[]", "{}", '{"folder": 5}', '{"folder": "a\\u0000b"}', '{"folder": ""}', "{")):
        (maemc_home / "jobs" / f"{number}.json").write_text(text)
    assert main(["jobs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(str(folder)) and len(lines) == 7
    assert all(line.startswith("damaged: ") for line in lines[1:])


def test_a_damaged_state_does_not_keep_a_job_from_going_on(tmp_path, maemc_home):
    folder = make(tmp_path / "job", maemc_home)
    (folder / "state.json").write_text('{"step": "three"}')
    make(folder, maemc_home)
    assert Job(folder).status == "finished" and read_state(folder)["step"] == 3
    spoil(folder / "job.json", {"command": []})
    with pytest.raises(InputError, match=r"job\.json is damaged: command is"):
        make(folder, maemc_home)
    with pytest.raises(InputError):
        read_settings(folder)


def test_lines_that_are_no_events_are_passed_over(tmp_path):
    job = Job(tmp_path)
    for step in (1, 2, 3, 4):
        job.event(step=step, phase="pretrain", loss=1.0)
    good = (tmp_path / "events.jsonl").read_bytes().splitlines(keepends=True)
    bad = [
        b"\xff\xfe\n", b"[1, 2]\n", b'"text"\n', b"5\n", b'{"step": "3", "phase": "pretrain"}\n', b'{"step": NaN}\n',
        b'{"step": 1e999}\n', b'{"step": true}\n', b'{"loss": "low"}\n', b"[" * 100_000 + b"\n", b'{"time": 5}\n',
        b"\n",
        b'{"phase": ["pretrain"]}\n', b'{"learning_rate": null}\n', b'{"fold": -1}\n', b'{"step"',
    ]  # fmt: skip
    (tmp_path / "events.jsonl").write_bytes(b"".join([*good[:2], *bad[:8], good[2], *bad[8:-1], good[3], bad[-1]]))
    log = EventLog(tmp_path)
    log.refresh()
    assert [event["step"] for event in log.events] == [1, 2, 3, 4]
    job.forget_events(3, ("pretrain",))
    assert (tmp_path / "events.jsonl").read_bytes() == b"".join(good[:3])


def network(optimizer="adamw"):
    """A small module and its optimizer after one step."""
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    named = [NamedParameter(name, parameter) for name, parameter in module.named_parameters()]
    made = build_optimizer(named, Optimization(optimizer=optimizer), torch.device("cpu"))
    module(torch.ones(5, 3) * torch.arange(5)[:, None]).sum().backward()
    made.step()
    return module, made


IDENTITY = {"configuration": {"epochs": 3}, "data": "f"}


@pytest.fixture
def checkpoint(tmp_path):
    module, optimizer = network()
    best = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    checkpoints.Checkpoints(tmp_path, module, optimizer, IDENTITY).save(checkpoints.Position(1, 0.5, 0), best)
    return tmp_path


def restored(folder, optimizer="adamw"):
    return checkpoints.Checkpoints(folder, *network(optimizer), IDENTITY).restore(8)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars", "lamb"])
def test_every_optimizer_is_restored_whole(optimizer, tmp_path):
    module, made = network(optimizer)
    checkpoints.Checkpoints(tmp_path, module, made, IDENTITY).save(checkpoints.Position(1), None)
    other, fresh = network(optimizer)
    fresh.state.clear()
    assert checkpoints.Checkpoints(tmp_path, other, fresh, IDENTITY).restore(8)[0].step == 1
    for one, two in zip(made.param_groups, fresh.param_groups, strict=True):
        assert float(one.get("step", 0)) == float(two.get("step", 0))
        for a, b in zip(one["params"], two["params"], strict=True):
            assert made.state[a].keys() == fresh.state[b].keys() and made.state[a]
            assert all(torch.equal(torch.as_tensor(made.state[a][k]), fresh.state[b][k]) for k in made.state[a])


@pytest.mark.parametrize(
    "values",
    [
        {"step": "x"}, {"step": -1}, {"step": True}, {"step": None}, {"best_loss": "low"}, {"best_epoch": 0.5},
        {"recent": 4}, {"recent": ["a"]}, {"ended": 1}, {"ended": None}, {"accumulation": "2"}, {"scaler": []},
        {"scaler": {"scale": "big"}}, {"more": 1}, None, [], "text",
    ],
)  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_a_position_of_other_types_is_refused(values, signed, checkpoint):
    path = checkpoint / "last" / "training.json"
    training = json.loads(path.read_text())
    training["position"] = {**training["position"], **values} if isinstance(values, dict) else values
    if not signed:  # as an older version wrote it
        del training["sha256"]
    path.write_text(json.dumps(training))
    with pytest.raises(ModelError, match=r"training\.json"):
        restored(checkpoint)


@pytest.mark.parametrize("key", ["step", "ended", "recent"])
def test_a_position_that_lacks_a_key_is_refused(key, checkpoint):
    path = checkpoint / "last" / "training.json"
    training = json.loads(path.read_text())
    del training["position"][key], training["sha256"]
    path.write_text(json.dumps(training))
    with pytest.raises(ModelError, match="position is not whole"):
        restored(checkpoint)


def cut(tensors):
    del tensors[next(iter(tensors))]


def add(tensors):
    tensors["exp_avg/nobody"] = torch.zeros(3)


def of_another_kind(tensors):
    tensors["momentum_buffer/0.weight"] = torch.zeros(4, 3)


def of_another_shape(tensors):
    name = next(name for name in tensors if tensors[name].dim() == 2)
    tensors[name] = torch.zeros(2, 2)


def of_another_type(tensors):
    name = next(name for name in tensors if tensors[name].dim() == 2)
    tensors[name] = tensors[name].to(torch.int8)


def of_a_group(tensors):
    tensors["group step/nobody"] = torch.tensor(3.0)


@pytest.mark.parametrize("name", ["model", "optimizer", "best"])
@pytest.mark.parametrize("change", [cut, add, of_another_shape, of_another_type, of_another_kind, of_a_group])
@pytest.mark.parametrize("named", [True, False])
def test_tensors_that_are_not_those_of_the_run_are_refused(name, change, named, checkpoint):
    path = checkpoint / "last" / f"{name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    if not named:  # as an older version wrote it, which named no files
        training = json.loads((checkpoint / "last" / "training.json").read_text())
        del training["files"], training["sha256"]
        (checkpoint / "last" / "training.json").write_text(json.dumps(training))
        if name == "optimizer" and change is of_another_type:
            pytest.skip("the type of an optimizer's values is known from the header alone")
    with pytest.raises(ModelError, match=rf"{name}\.safetensors"):
        restored(checkpoint)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "best.safetensors", "training.json"])
@pytest.mark.parametrize("left", [None, 0, 7, 60, -1])
def test_files_that_are_cut_or_missing_are_refused(name, left, checkpoint):
    path = checkpoint / "last" / name
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(MAEMCError, match=name.replace(".", r"\.")):
        restored(checkpoint)


def test_a_checkpoint_of_more_steps_than_the_run_has_is_refused(tmp_path):
    checkpoints.Checkpoints(tmp_path, *network(), IDENTITY).save(checkpoints.Position(9), None)
    with pytest.raises(ModelError, match="step 9 of 8"):
        restored(tmp_path)


def test_the_message_about_a_full_disk_knows_whether_there_is_a_checkpoint(checkpoint, monkeypatch):
    def full(tensors, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    run = checkpoints.Checkpoints(checkpoint, *network(), IDENTITY)
    with pytest.raises(InputError, match="The one before it is intact"):
        run.save(checkpoints.Position(2), None)
    shutil.rmtree(checkpoint / "last")
    with pytest.raises(InputError, match="There is none before it"):
        run.save(checkpoints.Position(2), None)
    assert os.listdir(checkpoint) == []
