"""What a cache takes for the same source, and what for another one."""

import dataclasses
import os
import shutil

import pytest
import SimpleITK as sitk

from Testing.training.stores import build_rows, count_reads, nodule_row, oblique_volume, several_cases


def test_another_image_of_equal_name_size_and_time_is_seen(tmp_path):
    """Archives unpack with the times of long ago: what a file is called and weighs does not tell it from another."""
    cases = []
    for number in (0, 1):
        image = tmp_path / str(number) / "ct.nrrd"
        image.parent.mkdir()
        volume = oblique_volume()
        picture = sitk.GetImageFromArray(volume.array + 50 * number)
        picture.SetOrigin(volume.origin.tolist())
        sitk.WriteImage(picture, str(image), useCompression=False)
        os.utime(image, (0, 0))
        cases.append(nodule_row("a", "p", image, tuple((volume.origin + 40).tolist())))
    assert cases[0].image.stat().st_size == cases[1].image.stat().st_size
    first = build_rows(cases[:1], tmp_path / "cache", tmp_path / "home")
    second = build_rows(cases[1:], tmp_path / "cache", tmp_path / "home")
    assert first.cases[0].sha256 != second.cases[0].sha256


def test_a_data_set_that_moved_is_not_cut_again(tmp_path, monkeypatch):
    cases = several_cases(tmp_path / "here", 2)
    build_rows(cases, tmp_path / "cache", tmp_path / "home")
    shutil.move(tmp_path / "here", tmp_path / "there")
    reads = count_reads(monkeypatch)
    moved = [dataclasses.replace(case, image=tmp_path / "there" / case.image.name) for case in cases]
    assert len(build_rows(moved, tmp_path / "cache", tmp_path / "home").cases) == 2
    assert reads == []


@pytest.mark.parametrize("name", ["CT [1].mhd", "CT.nhdr"])
def test_voxels_beside_their_header_count_as_source(tmp_path, name):
    volume = oblique_volume()
    image = sitk.GetImageFromArray(volume.array)
    sitk.WriteImage(image, str(tmp_path / name), useCompression=False)
    case = nodule_row("a", "p", tmp_path / name, (50.0, 50.0, 30.0))
    first = build_rows([case], tmp_path / "cache", tmp_path / "home")
    voxels = next(path for path in tmp_path.iterdir() if path.suffix == ".raw")
    voxels.write_bytes((volume.array + 30).tobytes())
    second = build_rows([case], tmp_path / "cache", tmp_path / "home")
    assert first.cases[0].sha256 != second.cases[0].sha256
