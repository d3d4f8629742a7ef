"""The cache of DICOM series: what counts as the source, and reasons and pseudonyms without names."""

import dataclasses
import os
import shutil

import pydicom
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.cases.pseudonyms import key_name, pseudonym, pseudonym_key
from MAEMCTrainingLib.data.store import open_store
from MAEMCTrainingLib.phantom.writing import write_phantom

from Testing.training.stores import build_rows, count_reads, nodule_row, two_cases


@pytest.fixture(scope="module")
def two_series(tmp_path_factory):
    """Two CT series with all their files in one folder; the first slice of each, and its case."""
    folder = tmp_path_factory.mktemp("series")
    rows = read_manifest(write_phantom(folder / "set", 2, seed=5, field="region", dicom=True)).rows
    mixed = folder / "mixed"
    mixed.mkdir()
    cases = []
    for row in rows:
        files = [shutil.copy(path, mixed / f"{row.case_id}-{path.name}") for path in sorted(row.image.iterdir())]
        uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)
        cases.append((nodule_row(row.case_id, row.patient_id, files[0], row.point_lps), files, uid))
    return cases


def test_a_slice_stands_for_its_series_and_the_series_is_the_source(two_series, tmp_path, monkeypatch):
    cases = [case for case, _, _ in two_series]
    first = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    assert first.left_out == ()
    reads = count_reads(monkeypatch)
    _, files, _ = two_series[0]
    with open(files[3], "r+b") as stream:  # a voxel of a slice that the manifest does not name
        stream.seek(-2, os.SEEK_END)
        value = stream.read(2)
        stream.seek(-2, os.SEEK_END)
        stream.write(bytes(byte ^ 1 for byte in value))
    build_rows(cases, tmp_path / "cache", tmp_path / "home")
    assert reads == [cases[0].image]  # the other series lies in the same folder and did not change


@pytest.mark.parametrize("column", ["series_uid", "series"])
def test_another_series_of_the_same_folder_is_cut_again(two_series, tmp_path, column):
    case, files, uid = two_series[0]
    folder, other = tmp_path / "two reconstructions", uid[:-1] + "7"
    folder.mkdir()
    for number, path in enumerate(files):
        shutil.copy(path, folder)
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID, data.RescaleIntercept = other, data.RescaleIntercept + 40
        data.save_as(folder / f"other {number}")
    one = dataclasses.replace(case, image=folder, values={column: uid})
    first = build_rows([one], tmp_path / "cache", tmp_path / "home")
    second = build_rows([dataclasses.replace(one, values={column: other})], tmp_path / "cache", tmp_path / "home")
    assert first.cases[0].sha256 != second.cases[0].sha256


def test_reasons_are_told_in_full_and_stored_without_names(two_series, tmp_path):
    good, _ = two_cases(tmp_path)
    broken = tmp_path / "Smith^John.nrrd"
    broken.write_bytes(b"NRRD0004\nnothing")
    odd = tmp_path / "Smith^Jane"  # what breaks the reader of DICOM in the middle
    shutil.copytree(two_series[0][0].image.parent, odd)
    for path in odd.iterdir():
        data = pydicom.dcmread(path)
        data.add(pydicom.DataElement(0x00280008, "LO", "many"))
        data.save_as(path)
    cases = [
        good,
        nodule_row("broken", "q", broken, (0.0, 0.0, 0.0)),
        nodule_row("odd", "r", odd, (0.0, 0.0, 0.0)),
        nodule_row("gone", "s", tmp_path / "Smith^Jim.nrrd", (0.0, 0.0, 0.0)),
    ]
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    told = {item["case_id"]: item["reason"] for item in cache.left_out}
    assert set(told) == {"broken", "odd", "gone"}
    assert "Smith^John" in told["broken"] and "There is no file" in told["gone"]
    assert "Smith" not in (cache.folder / "index.json").read_text()
    stored = open_store(cache.folder).left_out
    assert [(item["row"], item["code"]) for item in stored][2] == (5, "missing-file")


def test_imported_pseudonyms_agree_with_hospital_numbers(tmp_path):
    """One patient is one, whether its manifest was imported or written by hand."""
    case, home = two_cases(tmp_path)[0], tmp_path / "home"
    key = pseudonym_key(home)
    made_here = {"pseudonym_key": key_name(key)}
    by_hand = dataclasses.replace(case, case_id="1", patient_id="MRN-4711")
    made = dataclasses.replace(case, case_id="2", patient_id=pseudonym("P", "MRN-4711", key), values=made_here)
    elsewhere = dataclasses.replace(made, case_id="3", values={"pseudonym_key": "0" * 16})
    careless = dataclasses.replace(case, case_id="4", patient_id="MRN-4711", values=made_here)
    cache = build_rows([by_hand, made, elsewhere, careless], tmp_path / "cache", home)
    first, second, third, fourth = (entry.patient for entry in cache.cases)
    assert first == second == fourth
    assert third != first and third != made.patient_id
