"""A job under everything that happens to one: started, stopped, killed, continued, started twice, listed, in any order.

Whatever has happened: its state can be read at every moment, and the finished weights are those of the undisturbed run.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from MAEMCTrainingLib.jobs.files import STATUSES, read_state
from MAEMCTrainingLib.jobs.job import Job, is_locked, known_jobs
from MAEMCTrainingLib.jobs.stopping import request_stop

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
SOAK = bool(os.environ.get("MAEMC_SOAK"))
STEPS = 16

# Imports once what takes seconds, and forks for each command: what is killed is a process of its own all the same.
FORKING = """
import json, os, signal, sys
import scipy.stats, sklearn, torch, torch.utils.tensorboard
import MAEMCTrainingLib.pretraining.methods.maemc, MAEMCTrainingLib.pretraining.run
from MAEMCTrainingLib.__main__ import main
torch.set_num_threads(1)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
for line in sys.stdin:
    arguments, home, code = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ["MAEMC_HOME"] = home
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        ended = main(arguments)
        with open(code, "w") as stream:
            stream.write(str(ended))
        os._exit(0)
    print(child, flush=True)
"""


class Commands:
    """Starts training commands; knows which still run and how they ended."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.parent = subprocess.Popen([sys.executable, "-c", FORKING], text=True, **pipes)

    def start(self, arguments, home):
        code = Path(tempfile.mkdtemp()) / "code"
        self.parent.stdin.write(json.dumps([list(map(str, arguments)), str(home), str(code)]) + "\n")
        self.parent.stdin.flush()
        return int(self.parent.stdout.readline()), code

    def close(self):
        self.parent.kill()  # it holds nothing; at the end of a long run its interpreter takes its time to end
        self.parent.communicate()


def alive(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def wait(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def events(folder):
    path = folder / "events.jsonl"
    return path.read_bytes().splitlines() if path.is_file() else []


def weights(folder):
    return (folder / "checkpoints" / "last" / "model.safetensors").read_bytes()


class JobMachine(RuleBasedStateMachine):
    """One job folder and at most one process that trains in it.

    A rule that does not apply does nothing. It is not left out by a precondition: what is drawn next would depend on
    how far a process has come, and hypothesis has to draw the same again.
    """

    commands: Commands
    arguments: list
    expected: bytes

    def __init__(self):
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.folder, self.home = self.base / "job", self.base / "home"
        self.process, self.code = None, None

    def running(self):
        return self.process is not None and alive(self.process)

    def training(self):
        return self.running() and is_locked(self.folder)

    def begin(self):
        return self.commands.start([*self.arguments, "--output", self.folder], self.home)

    @rule(steps=st.integers(0, STEPS))
    def start_and_let_it_come_to(self, steps):
        """Start, or continue; look away for a while."""
        if not self.running():
            self.process, self.code = self.begin()
        wait(lambda: len(events(self.folder)) >= steps or not self.running())

    @rule()
    def kill(self):
        if not self.running():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        wait(lambda: not self.running())

    @rule(how=st.sampled_from(["file", "SIGTERM"]))
    def stop(self, how):
        if not self.training():
            return
        with contextlib.suppress(ProcessLookupError):
            request_stop(self.folder) if how == "file" else os.kill(self.process, signal.SIGTERM)
        wait(lambda: not self.running())

    @rule()
    def a_second_start_is_refused(self):
        if not self.training():
            return
        process, code = self.begin()
        wait(lambda: not alive(process))
        # The first may have finished meanwhile; then the second has nothing left to do.
        assert code.read_text() == "2" or not self.running()

    @invariant()
    def its_state_can_be_read(self):
        state = read_state(self.folder) if self.folder.is_dir() else {}
        assert not state or state["status"] in STATUSES
        assert state.get("step", 0) <= STEPS

    @invariant()
    def it_is_listed_once_it_has_begun(self):
        listed = known_jobs(self.home)
        assert all(job.status in STATUSES and 0 <= job.progress <= 1 for job in listed)
        if events(self.folder):
            assert [job.folder for job in listed] == [self.folder.resolve()]
        if not self.running():
            assert all(job.status != "running" for job in listed)

    def teardown(self):
        if self.running():
            wait(lambda: not self.running())
        self.process, self.code = self.begin()
        wait(lambda: not self.running())
        assert self.code.read_text() == "0" and Job(self.folder).status == "finished"
        assert weights(self.folder) == self.expected
        steps = [event["step"] for line in events(self.folder) if (event := json.loads(line))["phase"] == "pretrain"]
        assert steps == list(range(1, STEPS + 1))


def test_a_job_ends_as_if_nothing_had_happened(ball_cache, tmp_path):
    arguments = [
        "pretrain", "--data", ball_cache.folder, "--preset", "tiny", "--device", "cpu", "--quiet",
        "epochs=2", "views_per_case=2", "batch=4", "checkpoint_seconds=0", "log_every=1", "preview_epochs=0",
    ]  # fmt: skip
    commands = Commands()
    try:
        process, code = commands.start([*arguments, "--output", tmp_path / "undisturbed"], tmp_path / "home")
        wait(lambda: not alive(process))
        assert code.read_text() == "0"
        facts = {"commands": commands, "arguments": arguments, "expected": weights(tmp_path / "undisturbed")}
        machine = type("Machine", (JobMachine,), facts)
        one = machine()
        one.start_and_let_it_come_to(5)
        one.kill()
        one.start_and_let_it_come_to(8)
        one.a_second_start_is_refused()
        one.its_state_can_be_read()
        one.it_is_listed_once_it_has_begun()
        one.teardown()
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=100 if SOAK else 1,
                stateful_step_count=15 if SOAK else 6,
                derandomize=not SOAK,
                print_blob=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        commands.close()
