"""Points as people give them: on the command line, from Slicer, from a table."""

import json

import pytest
from MAEMCLib.__main__ import join_point_values
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.points import parse_point, read_points


def markups(frame, points):
    controls = [{"label": name, "position": place, "positionStatus": "defined"} for name, place in points]
    controls.append({"label": "unplaced", "position": [0, 0, 0], "positionStatus": "undefined"})
    return json.dumps({"markups": [{"type": "Fiducial", "coordinateSystem": frame, "controlPoints": controls}]})


def test_command_line_point_and_its_frame():
    assert parse_point("-42.5, 10,1e2") == (-42.5, 10.0, 100.0)
    assert parse_point("1,2,3", ras=True) == (-1.0, -2.0, 3.0)


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "a,b,c", "nan,0,0", "inf,0,0"])
def test_texts_that_are_no_point(text):
    with pytest.raises(UsageError, match="three numbers"):
        parse_point(text)


def test_a_point_that_begins_with_a_minus_is_a_value():
    assert join_point_values(["score", "a", "--point", "-1,2,3", "--point", "4,5,6", "--json"]) == [
        "score",
        "a",
        "--point=-1,2,3",
        "--point=4,5,6",
        "--json",
    ]
    assert join_point_values(["score", "--point"]) == ["score", "--point"]


@pytest.mark.parametrize(
    "frame, expected", [("LPS", (1, 2, 3)), ("RAS", (-1, -2, 3)), ("0", (-1, -2, 3)), (1, (1, 2, 3))]
)
def test_slicer_markups_in_either_frame(tmp_path, frame, expected):
    file = tmp_path / "Knöten liste.mrk.json"
    file.write_text(markups(frame, [("N ü", [1, 2, 3]), ("", [4, 5, 6])]), encoding="utf-8")
    points = read_points(file)
    assert [point.nodule_id for point in points] == ["N ü", "N2"]
    assert points[0].lps == expected


def test_old_fiducial_file(tmp_path):
    text = (
        "# Markups fiducial file version = 4.11\n# CoordinateSystem = {}\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        "1,10.5,-20,30,0,0,0,1,1,1,0,F-1,,\n"
    )
    for frame, expected in (("LPS", (10.5, -20, 30)), ("0", (-10.5, 20, 30)), ("RAS", (-10.5, 20, 30))):
        (tmp_path / "a.fcsv").write_text(text.format(frame))
        (point,) = read_points(tmp_path / "a.fcsv")
        assert (point.nodule_id, point.lps) == ("F-1", expected)


def test_table_with_and_without_names(tmp_path):
    (tmp_path / "p.csv").write_text("\ufeffid,l_mm,p_mm,s_mm\nleft,1,2,3\n,4,5,6\n", encoding="utf-8")
    assert [(p.nodule_id, p.lps) for p in read_points(tmp_path / "p.csv")] == [("left", (1, 2, 3)), ("N2", (4, 5, 6))]
    assert read_points(tmp_path / "p.csv", ras=True)[0].lps == (-1, -2, 3)


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "id,x,y,z\n1,2,3,4\n", "not a list of points"),
        ("a.csv", "id,l_mm,p_mm,s_mm\na,b,c,d\n", "not a list of points"),
        ("a.csv", "id,l_mm,p_mm,s_mm\n", "no points"),
        ("a.mrk.json", '{"markups": []}', "no points"),
        ("a.mrk.json", "{", "not a list of points"),
        ("a.mrk.json", "[]", "not a list of points"),
        ("a.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, 2]}]}]}', "not a list of points"),
        ("a.fcsv", "# columns = id,x\n1,2\n", "not a list of points"),
    ],
)
def test_files_that_hold_no_points(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_points(tmp_path / name)


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_points(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="cannot be read"):
        read_points(tmp_path / "b.csv")
