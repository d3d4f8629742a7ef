"""Points as people give them: on the command line, from Slicer, from a table."""

import json
import os

import pytest
from MAEMCLib.__main__ import join_point_values
from MAEMCLib.cases.points import NodulePoint, check_names, parse_point, read_points
from MAEMCLib.errors import InputError, UsageError


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


def markup(kind, *places, **more):
    """One markup as Slicer writes it."""
    points = [{"label": f"{kind[0]}-{n}", "position": place} for n, place in enumerate(places, 1)]
    return {"type": kind, "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points, **more}


def written(path, *found):
    path.write_text(json.dumps({"markups": list(found)}))
    return path


@pytest.mark.parametrize("kind", ["Line", "Angle", "Curve", "ClosedCurve", "Plane", "ROI", "Patient Müller"])
def test_only_point_lists_are_nodules(tmp_path, kind):
    other = markup(kind, [1, 2, 3], [4, 5, 6])
    named = kind if kind != "Patient Müller" else "markup of another kind"
    with pytest.raises(InputError, match=f"holds no point list but a {named}") as caught:
        read_points(written(tmp_path / "a.mrk.json", other))
    assert caught.value.exit_code == 3 and "Müller" not in str(caught.value)
    said = []
    points = read_points(written(tmp_path / "a.mrk.json", other, markup("Fiducial", [7, 8, 9])), notice=said.append)
    assert [point.lps for point in points] == [(7, 8, 9)]
    assert said == [f"Only point lists are nodules; left alone: a {named}."]


def test_a_point_of_an_old_file_that_was_never_placed_is_left_out(tmp_path):
    """Slicer writes a position status behind the columns that it names, and coordinates of 0 for such a point."""
    head = "# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    (tmp_path / "a.fcsv").write_text(
        head + "1,1,2,3,0,0,0,1,1,1,0,a,benign,vol1,2,0\n2,0,0,0,0,0,0,1,1,1,0,b,,,0,0\n3,4,5,6,0,0,0,1,1,1,0,c,,\n"
    )
    points = read_points(tmp_path / "a.fcsv")
    assert [(point.nodule_id, point.lps) for point in points] == [("a", (1, 2, 3)), ("c", (4, 5, 6))]
    assert (points[0].description, points[0].placed_on) == ("benign", "vol1")


@pytest.mark.parametrize(
    "text",
    [
        "id;l_mm;p_mm;s_mm\nN1;-60,5;10,25;100\n",
        "sep=;\r\nid;l_mm;p_mm;s_mm\r\nN1;-60,5;10,25;100,0\r\n;;;\r\n",
        "id\tl_mm\tp_mm\ts_mm\nN1\t-60.5\t10.25\t1e2\n",
        "s_mm, l_mm ,p_mm,id,remark\n100,-60.5, 10.25 ,N1,near the hilum\n\n",
    ],
    ids=["decimal commas", "spreadsheet", "tabs", "other order"],
)
def test_tables_of_other_spreadsheets(tmp_path, text):
    (tmp_path / "p.csv").write_text(text, newline="")
    (point,) = read_points(tmp_path / "p.csv")
    assert (point.nodule_id, point.lps) == ("N1", (-60.5, 10.25, 100.0))


DEFECTS = {
    "no column": ("a.csv", "id,l_mm,p_mm\na,1,2\n", "lacks the column s_mm"),
    "column twice": ("a.csv", "id,l_mm,l_mm,p_mm,s_mm\na,1,1,2,3\n", "repeats l_mm"),
    "too few values": ("a.csv", "id,l_mm,p_mm,s_mm\na,1,2,3\n\nb,1,2\n", "line 4 has 3 values for 4"),
    "too many values": ("a.csv", "id,l_mm,p_mm,s_mm\na,1,5,2,3\n", "line 2 has 5 values"),
    "decimal comma": ("a.csv", 'id,l_mm,p_mm,s_mm\na,"1,5",2,3\n', "line 2 are not three numbers"),
    "thousands": ("a.csv", "id;l_mm;p_mm;s_mm\na;1.234,5;2;3\n", "line 2 are not three numbers"),
    "no value": ("a.csv", "id,l_mm,p_mm,s_mm\na,n/a,2,3\n", "line 2 are not three numbers"),
    "far away": ("a.csv", "id,l_mm,p_mm,s_mm\na,1e300,2,3\n", "no position in mm"),
    "underscore": ("a.csv", "id,l_mm,p_mm,s_mm\na,1_0,2,3\n", "line 2 are not three numbers"),
    "other digits": ("a.csv", "id,l_mm,p_mm,s_mm\na,\u0661,2,3\n", "line 2 are not three numbers"),
    "endless field": ("a.csv", "id,l_mm,p_mm,s_mm\n" + "a" * 200_000 + ",1,2,3\n", "damaged"),
    "newline in a name": ("a.csv", 'id,l_mm,p_mm,s_mm\n"a\nb",1,2,3\n', "control characters"),
    "escape in a name": ("a.csv", "id,l_mm,p_mm,s_mm\na\x1b[0m,1,2,3\n", "control characters"),
    "turned name": ("a.csv", "id,l_mm,p_mm,s_mm\na\u202eb,1,2,3\n", "control characters"),
    "NUL": ("a.csv", "id,l_mm,p_mm,s_mm\na\0,1,2,3\n", "no text"),
    "deep": ("a.mrk.json", '{"markups": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
    "400 digits": ("a.mrk.json", {"position": [10**400, 2, 3]}, "beyond 64 bits"),
    "5000 digits": (
        "a.mrk.json",
        '{"markups": [{"controlPoints": [{"position": [' + "9" * 5000 + ", 1, 2]}]}]}",
        "64 bits",
    ),
    "1e400": ("a.mrk.json", '{"markups": [{"controlPoints": [{"position": [1e400, 1, 2]}]}]}', "beyond what"),
    "truth": ("a.mrk.json", {"position": [True, 2, 3]}, "no list of numbers"),
    "text": ("a.mrk.json", {"position": ["1", 2, 3]}, "no list of numbers"),
    "null": ("a.mrk.json", {"position": [None, 2, 3]}, "no list of numbers"),
    "no position": ("a.mrk.json", {"label": "x"}, "damaged"),
    "position of text": ("a.mrk.json", {"position": "123"}, "no list of numbers"),
    "two numbers": ("a.mrk.json", {"position": [1, 2]}, "2 coordinates instead of 3"),
    "four numbers": ("a.mrk.json", {"position": [1, 2, 3, 4]}, "4 coordinates instead of 3"),
    "number as name": ("a.mrk.json", {"label": 5, "position": [1, 2, 3]}, "is no text"),
    "control in a name": ("a.mrk.json", {"label": "a\x07", "position": [1, 2, 3]}, "control characters"),
    "frame IJK": ("a.mrk.json", markup("Fiducial", [1, 2, 3], coordinateSystem="IJK"), "neither LPS nor RAS"),
    "frame true": ("a.mrk.json", markup("Fiducial", [1, 2, 3], coordinateSystem=True), "neither LPS nor RAS"),
    "frame null": ("a.mrk.json", markup("Fiducial", [1, 2, 3], coordinateSystem=None), "neither LPS nor RAS"),
    "meters": ("a.mrk.json", markup("Fiducial", [1, 2, 3], coordinateUnits="m"), "not in mm"),
    "no units": ("a.mrk.json", markup("Fiducial", [1, 2, 3], coordinateUnits=[]), "not in mm"),
    "points of text": ("a.mrk.json", markup("Fiducial", controlPoints="abc"), "damaged"),
    "a number alone": ("a.mrk.json", "5", "damaged"),
    "old frame": ("a.fcsv", "# CoordinateSystem = 2\n# columns = x,y,z,label\n1,2,3,a\n", "neither LPS nor RAS"),
    "no frame": ("a.fcsv", "# columns = x,y,z,label\n1,2,3,a\n", "lacks the line '# CoordinateSystem"),
    "no columns": ("a.fcsv", "# CoordinateSystem = LPS\n1,2,3,a\n", "lacks the line '# columns"),
    "old letters": ("a.fcsv", "# CoordinateSystem = LPS\n# columns = x,y,z,label\n1,b,3,a\n", "three numbers"),
}


@pytest.mark.parametrize("case", DEFECTS)
def test_defects_are_named(tmp_path, case):
    name, content, words = DEFECTS[case]
    if isinstance(content, dict):
        found = content if "type" in content else markup("Fiducial", controlPoints=[content])
        content = json.dumps({"markups": [found]})
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    with pytest.raises(InputError, match=words) as caught:
        read_points(tmp_path / name)
    assert caught.value.exit_code == 3 and len(str(caught.value)) < 400 and name not in caught.value.anonymous


@pytest.mark.parametrize("text", ["1_0,2,3", "1e999,2,3", "1e300,2,3", "\u0661,2,3"])
def test_numbers_that_are_none_on_the_command_line(text):
    with pytest.raises(UsageError, match="three numbers"):
        parse_point(text)


def test_two_points_of_one_name_are_refused():
    points = [NodulePoint("N1", (0, 0, 0)), NodulePoint("N2", (1, 0, 0)), NodulePoint("N1", (2, 0, 0))]
    check_names(points[:2])
    with pytest.raises(InputError, match="2 points are called N1"):
        check_names(points)


def test_what_is_no_file_has_its_reason(tmp_path):
    os.mkfifo(tmp_path / "p.csv")
    for name, words in (
        ("p.csv", "pipe"),
        ("", "folder"),
        ("x" * 300 + ".csv", "name too long"),
        ("none.csv", "No such"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read_points(tmp_path / name)
        assert caught.value.exit_code == 3
