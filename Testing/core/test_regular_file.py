"""Pipes, devices, folders and closed files in the place of a volume: refused at once, with the reason."""

import os
import socket

import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import read_volume

from .volume_storage import STORAGES, store


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.nrrd")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.nrrd"))
        for name, words in (
            ("pipe.nrrd", "pipe, socket or device"),
            ("s.nrrd", "No such device|pipe, socket or device"),
            ("x" * 300 + ".nrrd", "name too long"),
            ("a\0b.nrrd", "no file"),
        ):
            with pytest.raises(InputError, match=words) as caught:
                read_volume(tmp_path / name)
            assert caught.value.exit_code == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_file_says_so(tmp_path):
    for named in (store("nrrd-gzip", tmp_path / "a"), store("mhd-raw", tmp_path / "b")):
        (named.parent / STORAGES["mhd-raw" if named.suffix == ".mhd" else "nrrd-gzip"][1]).chmod(0)
        with pytest.raises(InputError, match="Permission denied"):
            read_volume(named)


def test_a_reason_for_a_closed_file(tmp_path, monkeypatch):
    """As above for those who run the tests as root."""
    named = store("nrrd-gzip", tmp_path)

    def closed(*_):
        raise PermissionError(13, "Permission denied", str(named))

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(InputError, match=r"ct\.nrrd cannot be read \(Permission denied\)") as caught:
        read_volume(named)
    assert "ct.nrrd" not in caught.value.anonymous
