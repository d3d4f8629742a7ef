"""The command line as it is typed: exit codes, streams, files, and one set of numbers from every way of scoring."""

import csv
import json
import logging
from argparse import Namespace

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.__main__ import main
from MAEMCLib.cases.case import Case
from MAEMCLib.commands.command_line import run
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.results import COLUMNS, NoduleResult
from MAEMCLib.scoring import prepare


@pytest.fixture
def ct(tmp_path):
    """A noise CT with a Unicode name in a folder with spaces."""
    folder = tmp_path / "mein Ordner"
    folder.mkdir()
    array = np.random.default_rng(0).integers(-1000, 300, (60, 70, 80)).astype(np.int16)
    affine = np.diag([0.9, 0.9, 1.2, 1.0])
    affine[:3, 3] = (-30, -40, 10)
    write_volume(CTVolume(array, affine), folder / "Brustkorb ä.nrrd")
    return folder / "Brustkorb ä.nrrd"


@pytest.fixture
def maemc(random_bundle, capfd):
    """Run a command; returns its exit code, stdout and stderr."""

    def run(*arguments, model=True):
        given = [str(argument) for argument in arguments]
        code = main([*given, "--model", str(random_bundle), "--device", "cpu"] if model else given)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_score_prints_a_table_with_the_disclaimer(maemc, ct):
    code, out, err = maemc("score", ct, "--point", "-5,-10,40", "--point", "0,-5,45")
    assert code == 0 and err == ""
    assert "N1" in out and "N2" in out and "Research only, not for clinical use." in out and "not calibrated" in out


def test_json_is_one_document_with_the_promised_keys(maemc, ct):
    code, out, _ = maemc("score", ct, "--point", "-5,-10,40", "--json")
    document = json.loads(out)
    assert code == 0 and set(document) >= {"schema", "model", "device", "nodules"}
    (nodule,) = document["nodules"]
    expected = {column for column in COLUMNS if column not in ("l_mm", "p_mm", "s_mm")} | {"point_lps"}
    assert set(nodule) == expected | {"characteristics", "alike", "measured"}  # in JSON alone
    assert nodule["point_lps"] == [-5, -10, 40] and isinstance(nodule["warnings"], list)
    assert nodule["interval_low"] <= nodule["probability"] <= nodule["interval_high"]


def test_what_was_not_computed_is_null(maemc, ct):
    code, out, err = maemc("score", ct, "--point", "900,0,0", "--json")
    (nodule,) = json.loads(out)["nodules"]
    assert code == 3 and "outside the volume" in err
    for key in ("probability", "interval_low", "class", "threshold", "gate", "padded_fraction", "seconds"):
        assert nodule[key] is None


def test_one_bad_point_does_not_stop_the_others(maemc, ct):
    code, out, err = maemc("score", ct, "--point", "900,0,0", "--point", "-5,-10,40", "--json")
    assert code == 3 and [n["status"] for n in json.loads(out)["nodules"]] == ["failed", "scored"]
    assert err.startswith("N1 was not scored")


def test_a_point_that_is_not_a_number_fails_alone(maemc, ct, tmp_path):
    (tmp_path / "p.csv").write_text("id,l_mm,p_mm,s_mm\nnowhere,nan,0,0\nthere,-5,-10,40\n")
    code, out, err = maemc("score", ct, "--points", tmp_path / "p.csv", "--json", "--output", tmp_path / "out")
    nowhere, there = json.loads(out)["nodules"]
    assert (code, nowhere["status"], there["status"]) == (3, "failed", "scored")
    assert nowhere["point_lps"] is None and "no finite position" in err


def test_points_in_ras_mean_the_same_place(maemc, ct):
    lps = json.loads(maemc("score", ct, "--point", "-5,-10,40", "--json")[1])
    ras = json.loads(maemc("score", ct, "--point", "5,10,40", "--ras", "--json")[1])
    assert lps["nodules"][0]["probability"] == ras["nodules"][0]["probability"]


def test_output_folder_holds_everything(maemc, ct, tmp_path):
    folder = tmp_path / "Ergebnis ü" / "neu"
    code, _, _ = maemc("score", ct, "--point", "-5,-10,40", "--output", folder, "--quiet")
    assert code == 0
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    planes = [
        f"N1/{part}_{plane}.nrrd" for part in ("reconstruction", "error", "attention") for plane in ("axial", "coronal")
    ]
    pictures = ["N1/figure.png", "N1/seen.png", "N1/explanation.json", "N1/montage_axial.png", "N1/montage_coronal.png"]
    assert names == {"results.csv", "results.json", "report.html", "report.pdf", *planes, *pictures}
    with (folder / "results.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert float(row["probability"]) == pytest.approx(document["nodules"][0]["probability"], abs=1e-6)
    assert tuple(row) == COLUMNS
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "not for clinical use" in page and page.count("data:image/png;base64,") == 4 and "://" not in page
    overlay = read_volume(folder / "N1" / "reconstruction_coronal.nrrd")
    roi = cut_roi(read_volume(ct), (-5, -10, 40))
    np.testing.assert_allclose(overlay.affine, roi.affine("coronal"), atol=1e-9)


def test_names_from_a_file_become_safe_unique_folders(maemc, ct, tmp_path):
    rows = "".join(f"{name},-5,-10,40\n" for name in ("../../x", "a/b", "a b", "..", "N ü"))
    (tmp_path / "p.csv").write_text("id,l_mm,p_mm,s_mm\n" + rows, encoding="utf-8")
    assert maemc("score", ct, "--points", tmp_path / "p.csv", "--output", tmp_path / "out", "--quiet")[0] == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert len(folders) == 5 and all(path.name in folders for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert {path.name for path in tmp_path.iterdir()} == {"mein Ordner", "p.csv", "out"}


def test_a_decoder_of_nan_costs_its_pictures_and_not_the_score(maemc, ct, tmp_path, capfd, random_card, random_members):
    broken = {name: tensor * float("nan") for name, tensor in random_members[-1].tensors.items()}
    members = [*random_members[:3], Member("decoder", "decoder", broken)]
    path = save_bundle(tmp_path / "nan.maemc", {**random_card, "id": "nan"}, members).path
    asked = ["--point", "-5,-10,40", "--model", path, "--device", "cpu", "--output"]
    code, out, err = maemc("score", ct, *asked, tmp_path / "out", "--json", model=False)
    sound = json.loads(maemc("score", ct, "--point", "-5,-10,40", "--json")[1])["nodules"][0]
    assert code == 0 and "no reconstruction" in err and "values that are not numbers" in err
    assert json.loads(out)["nodules"][0]["probability"] == sound["probability"]
    names = {file.name for file in (tmp_path / "out" / "N1").iterdir()}
    assert "attention_axial.nrrd" in names and not any("reconstruction" in name or "error" in name for name in names)
    code, out, _ = maemc("explain", ct, *asked, tmp_path / "explained", model=False)
    assert code == 0 and "values that are not numbers" in out
    assert maemc("models", "import", path, model=False)[0] == 0


def test_roi_writes_geometry_and_montages(maemc, ct, tmp_path):
    code, out, _ = maemc("roi", ct, "--point", "-5,-10,40", "--output", tmp_path / "roi", model=False)
    assert code == 0 and "outside the volume" in out
    image = sitk.ReadImage(str(tmp_path / "roi" / "axial.nrrd"))
    assert image.GetSize() == (50, 50, 25) and image.GetSpacing() == (1, 1, 1)
    assert image.GetOrigin() == pytest.approx((-5 - 24.5, -10 - 24.5, 40 - 12))
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "roi" / "montage_axial.png")))
    hu = cut_roi(read_volume(ct), (-5, -10, 40)).axial[7]
    tile = picture[50:100, 100:150].astype(float)  # slice 7 is in row 1, column 2
    np.testing.assert_allclose(tile, np.clip((hu + 1200) / 1400, 0, 1) * 255, atol=0.51)


def test_explain_writes_overlays(maemc, ct, tmp_path):
    code, _, _ = maemc("explain", ct, "--point", "-5,-10,40", "--output", tmp_path / "e")
    assert code == 0
    assert {path.name for path in (tmp_path / "e").iterdir()} == {
        *("figure.png", "seen.png", "explanation.json"),
        *(
            f"{part}_{plane}.nrrd"
            for part in ("reconstruction", "error", "attention")
            for plane in ("axial", "coronal")
        ),
    }


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["score", "none.nrrd", "--point", "0,0,0"], 3, "no file"),
        (["score", "CT"], 2, "No point"),
        (["score", "CT", "--point", "1,2"], 2, "three numbers"),
        (["score", "CT", "--points", "none.csv"], 3, "cannot be read"),
        (["score", "CT", "--point", "0,0,40", "--series", "1.2"], 2, "DICOM folder"),
        (["score", "CT", "--point", "0,0,40", "--output", "CT"], 3, "cannot be written"),
        (["roi", "CT", "--point", "0,0,4000", "--output", "OUT"], 3, "outside"),
        (["batch", "none.csv", "--output", "OUT"], 3, "no manifest"),
        (["models", "verify", "nobody"], 4, "no model 'nobody'"),
        (["models", "import", "CT"], 4, "not a model bundle"),
        (["device", "--device", "toaster"], 2, "no device"),
    ],
)
def test_exit_codes_and_messages(arguments, code, words, maemc, ct, tmp_path):
    known = {"CT": ct, "OUT": tmp_path / "o"}
    given = [known.get(argument, argument) for argument in arguments]
    found, _, err = maemc(*given, model=arguments[0] in ("score", "batch"))
    assert (found, words in err) == (code, True), err
    assert "Traceback" not in err


def test_a_model_that_cannot_be_trusted_is_exit_code_4(ct, tmp_path, capfd):
    (tmp_path / "m.maemc").write_bytes(b"nothing")
    assert main(["score", str(ct), "--point", "0,0,40", "--model", str(tmp_path / "m.maemc")]) == 4
    assert "not a model bundle" in capfd.readouterr().err


def test_usage_errors_of_argparse_are_exit_code_2(capfd):
    for arguments in ([], ["score"], ["launch"], ["score", "a", "--pont", "1,2,3"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_verbose_shows_where_an_error_came_from(maemc, ct):
    code, _, err = maemc("score", ct, "--point", "1,2", "--verbose")
    assert code == 2 and "Traceback" in err


@pytest.mark.parametrize(
    ("verbose", "quiet", "shown"),
    [(False, False, ["told", "warned"]), (False, True, ["warned"]), (True, False, ["detailed", "told", "warned"])],
)
def test_what_modules_log_is_shown_by_a_program_alone(capsys, verbose, quiet, shown):
    log = logging.getLogger("maemc.anywhere")

    def typed(command, verbose=False, quiet=False):
        return Namespace(run=command, needs=(), verbose=verbose, quiet=quiet)

    def speak():
        log.debug("detailed")
        log.info("told")
        log.warning("warned")

    def command(_):
        run("inner", typed(lambda _: None, verbose=True))  # a command within another changes nothing of it
        capsys.readouterr()
        speak()

    assert run("program", typed(command, verbose, quiet)) == 0
    assert capsys.readouterr().err.splitlines() == shown
    log.info("told")
    assert capsys.readouterr().err == ""


def test_interrupt_is_130(maemc, ct, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("MAEMCLib.images.reading_process.ReadingProcess.read", interrupted)
    assert maemc("score", ct, "--point", "0,0,40")[0] == 130


def test_device_in_words_and_json(maemc):
    code, out, _ = maemc("device", "--device", "cpu", "--json", model=False)
    assert code == 0 and json.loads(out)["name"] == "cpu" and json.loads(out)["tensor_operation"] == "works"
    assert "PyTorch" in maemc("device", model=False)[1]


def test_models_by_id(maemc, random_bundle, tmp_path):
    assert maemc("models", "import", random_bundle, model=False)[0] == 0
    _, out, _ = maemc("models", "list", "--json", model=False)
    assert "random" in [model["id"] for model in json.loads(out)]
    assert "4 files match" in maemc("models", "verify", "random", model=False)[1]
    assert json.loads(maemc("models", "show", "random", "--json", model=False)[1])["id"] == "random"
    assert maemc("models", "export", "random", "--output", tmp_path / "x.maemc", model=False)[0] == 0
    assert maemc("models", "remove", "random", model=False)[0] == 0
    assert maemc("models", "show", "random", model=False)[0] == 4


def test_results_survive_json(maemc, ct):
    (nodule,) = json.loads(maemc("score", ct, "--point", "-5,-10,40", "--json")[1])["nodules"]
    assert NoduleResult.from_json(nodule).to_json() == nodule


def test_cubes_alike_from_score_and_batch(maemc, lidc_cubes, tmp_path, random_bundle):
    """Real nodules: every one gets a probability, the same from the library, the batch and the command."""
    files = sorted((lidc_cubes / "images").glob("*.nrrd"))[::5]
    rows = "".join(f"{file.stem},{file.stem},{file},0,0,0\n" for file in files)
    (tmp_path / "m.csv").write_text("case_id,patient_id,image,l_mm,p_mm,s_mm\n" + rows)
    assert maemc("batch", tmp_path / "m.csv", "--output", tmp_path / "r.csv")[0] == 0
    with (tmp_path / "r.csv").open(newline="") as stream:
        from_batch = {row["case_id"]: float(row["probability"]) for row in csv.DictReader(stream)}
    predictor = Predictor(ModelBundle.open(random_bundle), "cpu")
    assert len(from_batch) == 18
    for file in files:
        prepared = prepare(Case("", "", read_volume(file), point_lps=(0.0, 0.0, 0.0)), predictor.card)
        assert abs(predictor.predict([prepared])[0].probability - from_batch[file.stem]) < 1e-5
    (nodule,) = json.loads(maemc("score", files[0], "--point", "0,0,0", "--json")[1])["nodules"]
    assert abs(nodule["probability"] - from_batch[files[0].stem]) < 1e-5
