"""How often gates fire, counted from the results of a batch and the ratings of a manifest."""

import csv

import pytest
from MAEMCLib.results import COLUMNS
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.evaluation.gates import codes

ROWS = (
    ("a", "scored", "green", "", "solid", "5 5 4", "6 6 6"),
    ("b", "scored", "red", "calcium: It holds calcium (20 mm3 above 200 HU); so; small: 4 mm.", "solid", "5", "3 3"),
    ("c", "scored", "amber", "wall: It borders on wall.; device: On the CPU: slow.", "part-solid", "3 3", "6"),
    ("d", "scored", "red", "no-nodule: No nodule.", "", "1 1 2", "6"),
    ("e", "failed", "", "", "", "5", "6"),
)


@pytest.fixture
def files(tmp_path):
    results, manifest = tmp_path / "results.csv", tmp_path / "manifest.csv"
    with results.open("w", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        for case, status, gate, warnings, composition, *_ in ROWS:
            own = {"case_id": case, "status": status, "gate": gate, "warnings": warnings, "composition": composition}
            table.writerow(own)
    with manifest.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["case_id", "patient_id", "image", "l_mm", "p_mm", "s_mm", "texture", "calcification"])
        table.writerows(
            [(case, case, f"{case}.nrrd", 0, 0, 0, *rated) for case, *_, a, b in ROWS for rated in [(a, b)]]
        )
    return results, manifest


def test_colors_reasons_and_ratings_are_counted(files, capsys):
    assert main(["gates", str(files[0]), "--data", str(files[1])]) == 0
    text = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line.split() for line in text.splitlines() if line.strip()}
    assert lines["green"][1:] == ["1", "25%"] and lines["red"][1:] == ["2", "50%"]
    assert lines["calcium"][1:] == ["1", "25.0%"] and lines["wall"][1:] == ["1", "25.0%"]
    assert lines["solid (4-5)"][-4:] == ["0", "0", "2", "0"] and lines["part-solid (3)"][-4:] == ["0", "1", "0", "0"]
    assert lines["ground glass (1-2)"][-4:] == ["0", "0", "0", "1"]
    assert lines["calcified"][-2:] == ["1", "0"] and lines["none"][-2:] == ["0", "3"]
    assert "estimated HU" in text and "4 nodules were scored, 1 were not" in text


def test_codes_are_read_and_sentences_are_not():
    assert codes({"warnings": ROWS[1][3]}) == {"calcium", "small"}
    assert codes({"warnings": ROWS[2][3]}) == {"wall", "device"}


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_what_is_no_result_is_named(files, text, capsys):
    files[0].write_text(text)
    assert main(["gates", str(files[0]), "--data", str(files[1])]) == 3
    assert "maemc batch" in capsys.readouterr().err


def test_results_of_other_cases_are_refused(files, capsys):
    files[1].write_text(files[1].read_text().replace("\na,", "\nx,").replace("\nb,", "\ny,"))
    files[0].write_text("\n".join(files[0].read_text().splitlines()[:3]))
    assert main(["gates", str(files[0]), "--data", str(files[1])]) == 3
    assert "manifest that was scored" in capsys.readouterr().err
