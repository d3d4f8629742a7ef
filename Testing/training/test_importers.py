"""A new importer is one file of the folder, with its own options of the command line."""

import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers import formats


def test_an_importer_is_one_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "two_points.py").write_text(
        "from pathlib import Path\n"
        "from MAEMCLib.cases.case import Case\n"
        "from MAEMCTrainingLib.data.importers.imported import Imported, Importer\n"
        "def read(source, unpacked, side):\n"
        "    found = Imported()\n"
        "    for name, x in (('a', side), ('b', -side), ('a', 0)):\n"
        "        found.add(Case(name, name, source.absolute(), point_lps=(x, 0.0, 0.0)))\n"
        "    return found\n"
        "IMPORTER = Importer(read, 'two points', options={'--side': {'type': float, 'default': 1.0}})\n"
    )
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    output = tmp_path / "m.csv"
    command = ["import", "two-points", str(tmp_path), "--output", str(output), "--keep-ids", "--side", "4"]
    assert main(command) == 0
    assert "skipped a: a case of this name was there before" in capsys.readouterr().err
    assert [row.point_lps for row in read_manifest(output).rows] == [(4.0, 0.0, 0.0), (-4.0, 0.0, 0.0)]
    with pytest.raises(SystemExit):
        main([*command[:2], "--help"])
    assert "Two points." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["import", "lidc-cubes", *command[2:]])
    assert "unrecognized arguments: --side" in capsys.readouterr().err
