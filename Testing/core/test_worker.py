"""The worker as a real process: it survives every line, its owner survives its death."""

import base64
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.protocol import LINE_LIMIT, decode_array, encode_array


def region(seed=0):
    stacks = np.random.default_rng(seed).uniform(-1100, 300, (2, 25, 50, 50)).astype(np.float32)
    return NoduleROI(stacks[0], stacks[1], (0.0, 0.0, 0.0), 1.0, 0.0)


def nodule(roi):
    return {"axial": encode_array(roi.axial), "coronal": encode_array(roi.coronal)}


@pytest.fixture
def client():
    made = WorkerClient()
    yield made
    made.stop()


def wait(client, number, seconds=120):
    """Messages about a request until its result or error."""
    seen, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        for message in client.poll():
            if message.get("id") == number:
                seen.append(message)
                if message["kind"] != "progress":
                    return seen
        time.sleep(0.01)
    raise TimeoutError(f"no answer to {number}: {seen}; log {list(client.log)}")


@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_arrays_survive_the_wire(kind):
    array = (np.random.default_rng(0).normal(size=(3, 4, 5)) * 500).astype(kind)
    back = decode_array(json.loads(json.dumps(encode_array(array[:, ::-1]))))
    np.testing.assert_array_equal(back, array[:, ::-1])
    assert back.dtype == kind


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        {},
        {"dtype": "float32", "shape": [2], "data": "AAAA"},
        {"dtype": "object", "shape": [1], "data": ""},
        {"dtype": "float32", "shape": [-1], "data": ""},
        {"dtype": "float32", "shape": [1 << 40], "data": ""},
        {"dtype": "float32", "shape": [1], "data": "!!!!"},
        {"dtype": "float32", "shape": ["a"], "data": ""},
        {"dtype": [], "shape": [1], "data": ""},
    ],
)
def test_arrays_that_are_none(value):
    with pytest.raises(InputError):
        decode_array(value)


def test_same_numbers_as_the_predictor(client, random_bundle):
    rois = [region(seed) for seed in range(3)]
    expected = Predictor(ModelBundle.open(random_bundle), "cpu").predict([Prepared(roi) for roi in rois])
    messages = wait(client, client.send("predict", model=str(random_bundle), nodules=[nodule(r) for r in rois]))
    assert messages[-1]["kind"] == "result", messages[-1]
    got = [prediction["probability"] for prediction in messages[-1]["predictions"]]
    np.testing.assert_allclose(got, [p.probability for p in expected], atol=1e-6)
    stages = [message["stage"] for message in messages[:-1]]
    assert stages[0] == "loading" and "scoring" in stages
    assert messages[-1]["model"]["id"] == "random"
    again = wait(client, client.send("predict", model=str(random_bundle), nodules=[nodule(rois[0])]))
    assert "loading" not in [message.get("stage") for message in again]  # the model stayed warm


def test_explanations_come_as_arrays(client, random_bundle):
    result = wait(client, client.send("explain", model=str(random_bundle), nodules=[nodule(region())]))[-1]
    assert result["kind"] == "result", result
    for part in ("reconstruction", "error", "attention"):
        assert decode_array(result[part]["coronal"]).shape == (25, 50, 50)


def test_a_killed_worker_is_restarted_and_the_request_answered(client, random_bundle):
    wait(client, client.send("hello"))
    first = client.pid
    number = client.send("predict", model=str(random_bundle), nodules=[nodule(region())])
    os.kill(first, signal.SIGKILL)
    assert wait(client, number)[-1]["kind"] == "result"
    assert client.pid != first


def test_an_idle_worker_that_died_is_replaced(client):
    first = wait(client, client.send("hello"))[-1]["pid"]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while client.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    client.poll()
    assert wait(client, client.send("hello"))[-1]["pid"] != first


def test_a_worker_that_dies_each_time_is_given_up(tmp_path):
    dying = tmp_path / "dying python"
    dying.write_text("#!/bin/sh\necho last words >&2\nexit 7\n")
    dying.chmod(0o755)
    client = WorkerClient(str(dying))
    error = wait(client, client.send("hello"))[-1]
    assert error["code"] == "worker-died" and "last words" in error["message"] and "7" in error["message"]


def test_a_missing_interpreter_is_an_error_message(tmp_path):
    client = WorkerClient(str(tmp_path / "no python"))
    error = wait(client, client.send("hello"))[-1]
    assert error["code"] == "worker-start"


def test_cancel_kills_and_the_next_request_works(client, random_bundle):
    wait(client, client.send("hello"))
    pid = client.pid
    for _ in range(3):
        client.send("predict", model=str(random_bundle), nodules=[nodule(region())])
    client.cancel()
    assert not client.busy
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert wait(client, client.send("hello"))[-1]["kind"] == "result"
    assert client.poll() == []


def test_a_tag_stays_here_and_comes_back(client):
    tags = [object(), None]
    assert [wait(client, client.send("hello", tag=tag))[-1]["tag"] for tag in tags] == tags and client.sent == 2


def test_a_python_is_looked_for_when_it_is_needed():
    def find():
        raise MAEMCError("No Python here.", "no-python")

    client, tag = WorkerClient(find), object()
    client.send("hello", tag=tag)
    (error,) = client.poll()
    assert (error["code"], error["message"], error["tag"]) == ("no-python", "No Python here.", tag)
    assert not client.busy


def test_an_image_that_is_too_large_is_refused_here():
    with pytest.raises(InputError, match="1025 x 1024 pixels is too large"):
        encode_array(np.zeros((1025, 1024), np.float32))
    encode_array(np.zeros((1024, 1024), np.float32))


def test_two_clients_are_two_processes(client):
    other = WorkerClient()
    try:
        assert wait(client, client.send("hello"))[-1]["pid"] != wait(other, other.send("hello"))[-1]["pid"]
    finally:
        other.stop()


def test_send_does_not_wait_for_a_busy_worker(client):
    """Far more than a pipe holds is queued while the worker has not even started to read."""
    started = time.monotonic()
    numbers = [client.send("hello", filling="x" * 1_000_000) for _ in range(20)]
    assert time.monotonic() - started < 5
    answered = set()
    while client.busy and time.monotonic() - started < 120:
        answered |= {message["id"] for message in client.poll() if message["kind"] == "result"}
        time.sleep(0.01)
    assert answered == set(numbers)


def test_errors_of_the_library_reach_the_owner(client, random_bundle, tmp_path):
    for fields, code in (
        ({"model": str(tmp_path / "none.maemc"), "nodules": [nodule(region())]}, "missing"),
        ({"model": str(random_bundle), "nodules": []}, "nodules"),
        ({"model": str(random_bundle), "nodules": [{"axial": 1}]}, "array"),
        ({"model": str(random_bundle), "nodules": [nodule(region())], "device": "cuda:99"}, "device"),
        ({"model": 7, "nodules": [nodule(region())]}, None),
    ):
        error = wait(client, client.send("predict", **fields))[-1]
        assert error["kind"] == "error" and (code is None or error["code"] == code), error


def serve_raw(data: bytes) -> list[dict]:
    done = subprocess.run([sys.executable, "-m", "MAEMCLib", "serve"], input=data, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_line_ends_the_worker():
    hello = b'{"id": "last", "request": "hello"}\n'
    lines = [
        b"not json\n",
        b"[1, 2]\n",
        b'{"id": 1}\n',
        b'{"id": 2, "request": "launch"}\n',
        b'{"id": 3, "request": ["list"]}\n',
        b"\xff\xfe\x00binary\n",
        b"[" * 100_000 + b"\n",
        b'{"id": 4, "request": "predict", "nodules": "none"}\n',
        b'"' + b"x" * (LINE_LIMIT + 10) + b'"\n',
        b"\n",
    ]
    answers = serve_raw(b"".join(lines) + hello)
    assert [answer["kind"] for answer in answers] == ["error"] * 9 + ["result"]
    codes = [answer.get("code") for answer in answers]
    assert codes[0] == "malformed" and codes[3] == "unknown-request" and codes[8] == "oversized"
    assert answers[-1]["id"] == "last"


def test_a_line_of_exactly_the_limit_is_read():
    base = b'{"id": 1, "request": "hello", "x": ""}\n'
    line = base.replace(b'""', b'"' + b"y" * (LINE_LIMIT - len(base)) + b'"')
    assert len(line) == LINE_LIMIT
    (answer,) = serve_raw(line)
    assert answer["kind"] == "result"


def test_an_id_comes_back_only_where_it_is_one():
    """Also what is no number of JSON, or too deep or too large to be read, costs its own line alone."""
    ids = {
        b"NaN": None, b"1e999": None, b"-Infinity": None, b"1.5": None, b"true": None, b"null": None, b"[1, [2]]": None,
        b'{"a": NaN}': None, b"1" * 5000: None, b"9007199254740993": None, b'"' + b"x" * 201 + b'"': None,
        b'"\\ud800"': "\ud800", b"-7": -7, b'"seven"': "seven",
    }  # fmt: skip
    lines = [b'{"id": %s, "request": "hello"}\n' % number for number in ids]
    answers = serve_raw(b"".join(lines) + b'{"id": 8, "request": "hello"}\n')
    assert [answer["id"] for answer in answers] == [*ids.values(), 8]
    assert answers[-1]["kind"] == "result" and all(answer["kind"] in ("result", "error") for answer in answers)


def test_fields_of_other_types_are_refused_by_name(random_bundle):
    given = nodule(region())
    wrong = [
        {"model": [1]}, {"model": {"a": 1}}, {"model": True}, {"model": "a\0b"}, {"device": {}}, {"device": 1e3},
        {"device": ["cpu"]}, {"device": "meta"}, {"device": "cuda:-1"}, {"device": "cuda:99999999999999999999"},
        {"device": "x" * 100_000}, {"nodules": {}}, {"nodules": [[]]}, {"nodules": [None]}, {"nodules": [{}] * 65},
        {"nodules": [{"axial": given["axial"], "coronal": {"dtype": {}, "shape": "x", "data": 5}}]},
        {"nodules": [{**given, "axial": encode_array(np.full((25, 50, 50), np.nan, np.float32))}]},
    ]  # fmt: skip
    fine = {"request": "predict", "model": str(random_bundle), "device": "cpu", "nodules": [given]}
    lines = [json.dumps({**fine, **fields, "id": number}).encode() + b"\n" for number, fields in enumerate(wrong)]
    answers = [answer for answer in serve_raw(b"".join(lines)) if answer["kind"] != "progress"]
    assert [answer["id"] for answer in answers] == list(range(len(wrong)))
    assert {answer["kind"] for answer in answers} == {"error"}
    assert not [answer for answer in answers if answer["code"] == "internal"]
    assert all(len(answer["message"]) < 2100 for answer in answers)


def test_a_worker_that_hangs_is_noticed(client):
    """Stopped, as a stuck driver would stop it: it is alive and says nothing."""
    wait(client, client.send("hello"))
    assert client.silent_seconds == 0.0
    os.kill(client.pid, signal.SIGSTOP)
    number, deadline = client.send("hello"), time.monotonic() + 30
    while client.silent_seconds < 1 and time.monotonic() < deadline:
        assert client.poll() == []
        time.sleep(0.05)
    assert client.silent_seconds >= 1 and client.busy and client.alive
    os.kill(client.pid, signal.SIGCONT)
    assert wait(client, number)[-1]["kind"] == "result"
    assert client.silent_seconds == 0.0


def test_a_replaced_model_is_noticed(client, tmp_path, random_card, random_members):
    from MAEMCLib.models.bundle import save_bundle

    path = tmp_path / "m.maemc"
    save_bundle(path, random_card, random_members)
    first = wait(client, client.send("predict", model=str(path), nodules=[nodule(region())]))[-1]
    save_bundle(path, {**random_card, "version": "2.0"}, random_members[1:])
    second = wait(client, client.send("predict", model=str(path), nodules=[nodule(region())]))[-1]
    assert (first["model"]["version"], second["model"]["version"]) == ("1.0", "2.0")
    assert len(second["predictions"][0]["members"]) == 2


def test_base64_is_of_little_endian_bytes():
    assert base64.b64decode(encode_array(np.array([1], ">i2").astype(np.int16))["data"]) == b"\x01\x00"
