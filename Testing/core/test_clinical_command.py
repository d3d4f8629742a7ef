"""``maemc risk`` as it is typed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import MAEMCLib
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.clinical.scores import SCORES

BROCK = "--age 65 --sex female --diameter-mm 15 --type solid --count 1 --upper-lobe"
LUNG_RADS = "--type solid --long-mm 8.4 --short-mm 7.2"
FLEISCHNER = "--type solid --long-mm 8.4 --short-mm 7.2 --number single --risk high"
COMMANDS = {
    "brock": BROCK,
    "mayo": "--age 74 --diameter-mm 7 --smoker --upper-lobe",
    "herder": "--pretest 0.1875 --uptake intense",
    "va": "--age 62 --diameter-mm 10",
    "lung-rads": LUNG_RADS,
    "fleischner": FLEISCHNER,
    "bts": "--type solid --diameter-mm 7",
    "vdt": "--volumes 200 300 --days 90",
}


@pytest.fixture
def risk(capfd):
    """Run ``maemc risk`` with a line of words; returns its exit code, stdout and stderr."""

    def run(line):
        code = main(["risk", *line.split()])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def document(risk, line):
    code, out, err = risk(f"{line} --json")
    assert code == 0 and err == ""
    return json.loads(out)


def test_every_score_has_a_command():
    assert set(COMMANDS) == set(SCORES)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_has_the_promised_keys(risk, name):
    found = document(risk, f"{name} {COMMANDS[name]}")
    promised = {"schema", "score", "variant", "inputs", "probability", "category", "recommendation", "applicable"}
    assert set(found) >= promised | {"reason", "source", "edge", "sentence", "notes", "measures", "disclaimer"}
    assert found["schema"] == 1 and found["score"] == name and found["applicable"] and found["reason"] is None
    assert found["category"] and found["recommendation"] and found["sentence"] and found["source"]
    assert "not for clinical use" in found["disclaimer"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_text_says_it_all(risk, name):
    code, out, err = risk(f"{name} {COMMANDS[name]}")
    flat = " ".join(out.split())
    found = document(risk, f"{name} {COMMANDS[name]}")
    assert code == 0 and err == "" and "Research only, not for clinical use." in out
    for key in ("category", "recommendation", "sentence", "source"):
        assert " ".join(found[key].split()) in flat, key
    if found["edge"]:
        assert found["edge"]["text"] in flat
    for note in found["notes"]:
        assert note in flat


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"brock {BROCK}", 0.2537),
        (f"brock {BROCK} --model 2a", 0.2974),
        ("mayo --age 65 --diameter-mm 16 --smoker --extrathoracic-cancer --spiculation --upper-lobe", 0.8465),
        ("herder --pretest 0.1636 --uptake moderate --variant likelihood-ratio", 0.2709),
        ("va --age 62 --diameter-mm 10", 0.0791),
    ],
)
def test_probabilities(risk, line, value):
    assert document(risk, line)["probability"] == pytest.approx(value, abs=6e-5)


def test_inputs_are_echoed_as_they_were_read(risk):
    found = document(risk, f"brock {BROCK} --error-mm 0.9")
    assert found["inputs"]["age"] == 65 and found["inputs"]["count"] == 1 and found["inputs"]["upper_lobe"] is True
    assert found["inputs"]["error_mm"] == 0.9 and found["variant"] == "2b"
    assert document(risk, "vdt --diameters 8 10 --days 180")["inputs"] == {"diameters": [8, 10], "days": 180}


def test_guidelines(risk):
    found = document(risk, f"lung-rads {LUNG_RADS} --error-mm 0.3")
    assert found["category"] == "3" and found["probability"] is None and found["measures"]["mean_diameter_mm"] == 7.8
    assert found["edge"]["category"] == "4A" and found["edge"]["within_error"] is True
    assert document(risk, f"lung-rads {LUNG_RADS} --context new")["category"] == "4A"
    assert document(risk, f"fleischner {FLEISCHNER}")["recommendation"].startswith("CT at 6-12 months, then CT")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"fleischner {FLEISCHNER} --setting screening", "Lung-RADS"),
        (f"lung-rads {LUNG_RADS} --setting incidental", "Fleischner"),
        ("mayo --age 60 --diameter-mm 10 --recent-cancer", "five years"),
        (f"brock {BROCK} --perifissural", "Perifissural"),
    ],
)
def test_not_applicable_is_an_answer_with_its_reason(risk, line, reason):
    found = document(risk, line)
    assert found["applicable"] is False and reason in found["reason"] and found["category"] is None
    assert found["probability"] is None and found["recommendation"] is None
    code, out, _ = risk(line)
    assert code == 0 and "Not applicable" in out and reason in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("brock", "needs age (from 0 to 120 years), sex (male or female), diameter (from 1 to 300 mm)"),
        ("brock --age 300 --sex male", "'300', but it has to be a number from 0 to 120 years"),
        ("mayo --age -5 --diameter-mm 9", "'-5', but it has to be a number from 0 to 120 years"),
        ("mayo --age sixty --diameter-mm 9", "'sixty', but it has to be a number"),
        ("lung-rads --type solid --long-mm 7 --short-mm 8", "short axis (8 mm) is longer"),
        ("herder --pretest 18.75 --uptake faint", "from 0 to 1"),
        ("vdt --days 3", "--volumes or --diameters"),
        ("fleischner --type solid --long-mm 7 --short-mm 7 --number single", "risk of the patient (low or high)"),
    ],
)
def test_wrong_values_end_with_a_sentence_and_code_2(risk, line, message):
    code, out, err = risk(line)
    assert code == 2 and out == "" and err.startswith("maemc: ") and message in err and "Traceback" not in err


@pytest.mark.parametrize("line", ["", "peking", "brock --ag 65", "vdt --volumes 1 --days 3"])
def test_wrong_words_are_usage(risk, line):
    with pytest.raises(SystemExit) as stopped:
        risk(line)
    assert stopped.value.code == 2


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_prints(name, capfd):
    with pytest.raises(SystemExit) as stopped:
        main(["risk", *filter(None, [name]), "--help"])
    assert stopped.value.code == 0 and "usage: maemc risk" in capfd.readouterr().out


def test_quiet_prints_nothing_but_json(risk):
    assert risk("va --age 62 --diameter-mm 10 --quiet")[1] == ""
    assert json.loads(risk("va --age 62 --diameter-mm 10 --quiet --json")[1])["score"] == "va"


NEW_SCORE = '''"""Half of the diameter."""

from ..fields import DIAMETER
from ..score import Outcome, Score


class Half(Score):
    name, title, source = "half", "Half", "Nobody 2026"
    fields = (DIAMETER,)
    sizes = (("diameter_mm",),)

    def outcome(self, values):
        half = values["diameter_mm"] / 2
        return Outcome("large" if half > 5 else "small", 0, "Nothing.", 0.5)


SCORE = Half()
'''


def test_a_new_score_is_one_file(tmp_path):
    library = tmp_path / "MAEMCLib"
    shutil.copytree(Path(MAEMCLib.__file__).parent, library, ignore=shutil.ignore_patterns("__pycache__"))
    (library / "clinical" / "scores" / "half.py").write_text(NEW_SCORE)
    words = ["-m", "MAEMCLib", "risk", "half", "--diameter-mm", "9", "--error-mm", "0.9", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["category"] == "small"
    assert found["edge"]["category"] == "large" and found["edge"]["within_error"] is False
