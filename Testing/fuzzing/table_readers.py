"""Manifests, points, results of an earlier run, pictures."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st
from MAEMCLib.cases.manifest import read_manifest, read_scoring_manifest
from MAEMCLib.cases.points import read_points
from MAEMCLib.images.gray import read_gray
from PIL import Image

from .judging import Reader
from .mutations import mutated, mutated_json

MANIFEST = """case_id,patient_id,image,l_mm,p_mm,s_mm,label,split,diameter_mm,age
c1,p1,ct.nrrd,1.5,-2,3e0,1,train,12,63
"c,2",p2,ct.nrrd,-1.5,2,3,benign,val,,
ü3,p3,ct.nrrd,0,0,0,,,7.5,"6""1"
"""
POINTS = "id,l_mm,p_mm,s_mm\nN1,1,2,3\nN2,-1.5,2e1,0\n"
FCSV = """# Markups fiducial file version = 5.2
# CoordinateSystem = LPS
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,10,20,30,0,0,0,1,1,1,0,N1,,
2,-10,20,30,0,0,0,1,1,1,0,"N,2",,
"""
MARKUPS = {
    "@schema": "https://example.org/markups-schema-v1.0.3.json#",
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "controlPoints": [
                {"id": "1", "label": "N1", "position": [1.0, 2.0, 3.0], "positionStatus": "defined"},
                {"id": "2", "label": "N2", "position": [4.0, 5.0, 6.0], "positionStatus": "undefined"},
            ],
        },
        {"type": "Line", "coordinateSystem": "RAS", "controlPoints": [{"id": "1", "position": [1, 2, 3]}]},
    ],
}


def _manifest(folder: Path):
    (folder / "ct.nrrd").write_bytes(b"there")
    path = folder / "manifest.csv"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        rows = read_scoring_manifest(path).rows
        assert len({(row.case_id, row.nodule_id) for row in rows if not row.problem}) == sum(
            not row.problem for row in rows
        ), "two rows of one name"
        read_manifest(path, lenient=True)
        read_manifest(path)

    return mutated(MANIFEST.encode()), read


def _points(name: str, strategy: st.SearchStrategy):
    def prepare(folder: Path):
        path = folder / name

        def read(content: bytes) -> None:
            path.write_bytes(content)
            for point in read_points(path):
                assert len(point.lps) == 3 and all(isinstance(n, float) for n in point.lps), "a point that is no place"

        return strategy, read

    return prepare


def picture_contents() -> list[bytes]:
    """Sound pictures: 8 and 16 bit, gray and color, PNG and JPEG."""
    gray = np.random.default_rng(0).integers(0, 255, (20, 24), dtype=np.uint8)
    contents = []
    for picture, kind in (
        (Image.fromarray(gray), "PNG"),
        (Image.fromarray(gray), "JPEG"),
        (Image.fromarray(gray.astype(np.uint16) * 200), "PNG"),
        (Image.fromarray(np.stack([gray] * 3, axis=2)), "PNG"),
    ):
        target = io.BytesIO()
        picture.save(target, kind)
        contents.append(target.getvalue())
    return contents


def _pictures(folder: Path):
    path = folder / "picture.png"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        found = read_gray(path)
        assert np.isfinite(found).all() and found.ndim == 2, "no finite gray values"

    return st.one_of([mutated(content) for content in picture_contents()]), read


def _results(folder: Path):
    """What an earlier run left: rows are taken up or scored again, and nothing of it stops the batch."""
    from MAEMCLib.batch.results_file import ResultsFile
    from MAEMCLib.results import COLUMNS

    model = SimpleNamespace(sha256="ab" * 32)
    values = dict.fromkeys(COLUMNS, "1") | {"status": "scored", "warnings": "a: b; c: d", "case_id": "é\u2028x"}
    values |= {"probability": "0.5", "model_sha256": model.sha256, "input_sha256": "cd" * 32}
    lines = [",".join(COLUMNS), *(",".join(f'"{v}"' for v in (values | {"case_id": c}).values()) for c in "ab")]
    path = folder / "results.csv"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        for row in ResultsFile(path).scored_rows(model):
            assert set(row) == set(COLUMNS) and 0 <= float(row["probability"]) <= 1, "a row that is no result"
        assert path.read_bytes() == content, "an earlier result was changed"

    return mutated("\n".join(lines).encode() + b"\n"), read


def _gates(folder: Path):
    """Results whose gates are counted."""
    from MAEMCTrainingLib.evaluation.gates import gates_report

    path, manifest = folder / "results.csv", folder / "manifest.csv"
    manifest.write_text(MANIFEST + "d,p4,ct.nrrd,0,0,0,,,,\n")
    rows = 'case_id,status,gate,warnings,composition\nc1,scored,red,"calcium: It; so",solid\nü3,failed,,,\n'

    def read(content: bytes) -> None:
        path.write_bytes(content)
        gates_report(path, manifest)

    return mutated(rows.encode()), read


TABLES = (
    Reader("manifest CSV", _manifest),
    Reader("points: .mrk.json", _points("points.mrk.json", mutated_json(MARKUPS))),
    Reader("points: .fcsv", _points("points.fcsv", mutated(FCSV.encode()))),
    Reader("points: CSV", _points("points.csv", mutated(POINTS.encode()))),
    Reader("results.csv of an earlier run", _results),
    Reader("results.csv whose gates are counted", _gates),
    Reader("pictures: PNG, JPEG", _pictures),
)
