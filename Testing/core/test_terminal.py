"""What is printed steers no terminal, fails for no letter, and a command that is interrupted says one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.machine.terminal import harmless_printing, visible

NASTY = "N\x1b]52;c;aGk=\x07\x9b31m\u202egnp.\u2028x\x7f\r"


def test_what_steers_a_terminal_is_shown_as_its_code():
    assert visible("Knoten ä 结节 N-1") == "Knoten ä 结节 N-1"
    assert visible("a\nb\tc\x1b[0m\u202e") == "a\\u000ab\\u0009c\\u001b[0m\\u202e"


def test_printing_in_the_block_is_harmless_and_after_it_as_before(capsys):
    with harmless_printing():
        print(NASTY, "one line\nanother\ttab")
        print("\r\x1b[K5 of 7", end="", file=sys.stderr)
        print("\rname\rspoof", file=sys.stderr)
    print("\x1b[0m")
    out, err = capsys.readouterr()
    first, after = out.split("another\ttab\n")
    assert not set(first) & {"\x1b", "\x07", "\x9b", "\u202e", "\u2028", "\x7f", "\r"} and "\\u001b]52" in first
    assert first.endswith("one line\n") and after == "\x1b[0m\n"
    assert err == "\r\x1b[K5 of 7\rname\\u000dspoof\n"


def printed(code: str, encoding: str) -> str:
    script = (
        f"from MAEMCLib.machine.terminal import harmless_printing\nimport json\nwith harmless_printing():\n    {code}"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_the_same_data_on_every_console(encoding):
    value = "ä 结节 \U0001f600 \x9b \u202e \x1b \udcff"
    assert json.loads(printed(f"print(json.dumps({value!r}, ensure_ascii=False))", encoding)) == value


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_letter_that_the_console_lacks_costs_that_letter(encoding, tmp_path, random_bundle):
    array = np.random.default_rng(0).integers(-1000, 300, (60, 60, 60)).astype(np.int16)
    write_volume(CTVolume(array, np.eye(4)), tmp_path / "ct.nrrd")
    (tmp_path / "p.csv").write_text("id,l_mm,p_mm,s_mm\nKnoten 结节,30,30,30\nfern 结节,900,0,0\n", encoding="utf-8")
    command = [sys.executable, "-m", "MAEMCLib", "score", tmp_path / "ct.nrrd", "--points", tmp_path / "p.csv"]
    command += ["--model", random_bundle, "--device", "cpu"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, text=True, encoding=encoding, env=environment)
    assert done.returncode == 3 and "Knoten \\u7ed3\\u8282  " in done.stdout
    assert done.stderr.startswith("fern \\u7ed3\\u8282 was not scored: ")


INTERRUPTED = """
import os, signal, sys
class WhileLoading:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, WhileLoading())
from MAEMCLib.__main__ import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize(
    "name", ["MAEMCLib.machine.terminal", "MAEMCLib.commands.models", "numpy", "MAEMCLib.models.card"]
)
def test_ctrl_c_while_libraries_load_is_one_line(name):
    code = INTERRUPTED.format(name=name, number=2, arguments=["models", "list"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "maemc: interrupted\n")


def test_sigterm_is_one_line_and_its_own_exit_code():
    code = INTERRUPTED.format(name="MAEMCLib.commands.models", number=15, arguments=["models", "list"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "maemc: terminated\n")


def test_an_interruption_that_python_drops_comes_again():
    script = """
import time
from MAEMCLib.machine.terminal import interruptible
class Dropped:
    def __del__(self):
        raise KeyboardInterrupt
try:
    with interruptible():
        one = Dropped()
        del one
        time.sleep(20)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
