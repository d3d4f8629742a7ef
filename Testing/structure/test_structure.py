"""The house's shape: no import circle, no function over 60 lines, no file over 400; and that the counters see them."""

import pytest

from Testing.structure.counts import KIND_QUESTIONS, counts
from Testing.structure.figure import chapters, draw, floors, without_shortcuts
from Testing.structure.imports import circles_of, import_graph
from Testing.structure.lines import code_lines, function_lengths
from Testing.structure.tree import REPOSITORY, source_files

# What is known to break a rule. Each list can only shrink: who mends one strikes it out, and nothing is added.
KNOWN_CIRCLES: set = set()
"""Circles, each by the last names of two modules in it."""
KNOWN_FUNCTIONS: set = set()
KNOWN_FILES: set = set()


@pytest.fixture(scope="module")
def house():
    return counts(REPOSITORY)


def test_no_import_circle(house):
    found = {tuple(circle): {name.rpartition(".")[2] for name in circle} for circle in house["product"]["circles"]}
    known = {circle: [pair for pair in KNOWN_CIRCLES if names.issuperset(pair)] for circle, names in found.items()}
    assert not [circle for circle, pairs in known.items() if not pairs], "new circles"
    assert not KNOWN_CIRCLES - {pair for pairs in known.values() for pair in pairs}, "untied: strike them out"


def test_chapters_lie_above_each_other():
    assert not circles_of(chapters(REPOSITORY)[0])


@pytest.mark.parametrize(
    ("figure", "separator", "known"),
    [("functions_over_60", ":", KNOWN_FUNCTIONS), ("files_over_400", "/", KNOWN_FILES)],
    ids=["functions", "files"],
)
def test_nothing_is_too_long(house, figure, separator, known):
    long = [place for part in house.values() for place in part[figure]]
    assert not [place for place in long if place.rpartition(separator)[2] not in known], "too long"
    assert not known - {place.rpartition(separator)[2] for place in long}, "shortened: strike them out"


def written(folder, **modules):
    """The imports of a package ``house`` of these modules, and of packages in it: {module: text} for each."""
    for name, content in {"__init__": "", **modules}.items():
        for inner, text in content.items() if isinstance(content, dict) else [("", content)]:
            file = folder / "house" / name / f"{inner}.py" if inner else folder / "house" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return import_graph(source_files(folder, ".py"))


def test_a_tree_is_no_circle(tmp_path):
    graph = written(tmp_path, hall="from . import room\nfrom .room import bed\n", room="import os\nbed = 1\n")
    assert graph.imports == {"house": set(), "house.hall": {"house.room"}, "house.room": set()}
    assert graph.circles() == []


@pytest.mark.parametrize(
    "text",
    [
        "from . import hall\n",
        "from .hall import door\n",
        "import house.hall\n",
        "def f():\n    from house import hall\n",
        "def f():\n    if True:\n        import house.hall as h\n",
        "class A:\n    from .hall import door\n",
        "from importlib import import_module\nimport_module('.hall', __package__)\n",
        "import importlib\nimportlib.import_module('house.hall')\n",
        "TABLE = {'hall': 'house.hall:door'}\n",
        "TABLE = {'hall': 'house.hall'}\n",
        "import importlib\nimportlib.import_module(f'{__package__}.{NAME}')\n",
        "import importlib\nimportlib.import_module(f'house.{NAME}')\n",
        "import importlib\nimportlib.import_module(f'.{NAME}', __package__)\n",
        "if DEBUG:\n    pass\nelse:\n    from . import hall\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from . import hall\n",
    ],
)
def test_a_circle_is_seen(tmp_path, text):
    graph = written(tmp_path, hall="def f():\n    from .room import bed\n", room=text)
    assert [set(circle) for circle in graph.circles()] == [{"house.hall", "house.room"}]


@pytest.mark.parametrize(
    "text",
    ["'''See house.hall:door.'''\n", "WORDS = ['-m', 'house']\n", "SUFFIX = '.hall'\n", "# import house.hall\n"],
)
def test_words_are_no_imports(tmp_path, text):
    assert written(tmp_path, hall="from . import room\n", room=text).circles() == []


def test_an_import_is_also_one_of_the_package_around(tmp_path):
    attic = {"__init__": "import house.hall\n", "box": "toy = 1\n"}
    graph = written(tmp_path, hall="from .attic.box import toy\n", attic=attic)
    assert [set(circle) for circle in graph.circles()] == [{"house.hall", "house.attic"}]


def test_imports_for_type_checkers_are_kept_apart(tmp_path):
    checked = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .hall import Door\n"
    graph = written(tmp_path, hall="from . import room\n", room=checked)
    assert graph.circles() == []
    assert graph.typing_only["house.room"] == {"house.hall"}
    assert [set(circle) for circle in graph.circles_with_typing()] == [{"house.hall", "house.room"}]


def test_imports_that_the_text_does_not_tell_are_named(tmp_path):
    text = "from importlib import import_module\n"
    graph = written(tmp_path, hall=f"{text}import_module(NAME)\n", room=f"{text}import_module('os')\n")
    assert graph.open_ended == ["house.hall"]


def test_circles_that_do_not_touch_are_two(tmp_path):
    graph = written(tmp_path, a="from . import b, c", b="from . import a", c="from . import d", d="from . import c")
    assert graph.circles() == [["house.a", "house.b"], ["house.c", "house.d"]]


PYTHON = '''"""What it is
for."""

import os  # of the system

SIDE = 50
"""Said of a constant."""
TEXT = """two

lines"""


def outer(
    one,
):
    """Short."""
    # why
    def inner():
        return "# no comment"

    return inner
'''


def test_code_lines_are_without_blanks_comments_and_docstrings(tmp_path):
    file = tmp_path / "room.py"
    file.write_text(PYTHON)
    assert code_lines(file) == [
        *("import os", "SIDE = 50", 'TEXT = """two', "", 'lines"""', "def outer(", "    one,", "):"),
        *("    def inner():", '        return "# no comment"', "    return inner"),
    ]
    assert {one.place: one.lines for one in function_lengths(tmp_path, file)} == {
        "room.py:outer": 9,
        "room.py:outer.inner": 2,
    }


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.toml", "# why\n\n[table]\nkey = 1  # said\n", 2),
        ("a.html", "<p>\n<!-- two\nlines -->\n\n</p>\n", 2),
        ("a.j2", "{# why\n#}\n{{ text }}\n", 1),
        ("a.css", "/* why */\np { }\n", 1),
    ],
)
def test_settings_and_templates_are_code(tmp_path, name, text, lines):
    (tmp_path / name).write_text(text)
    assert len(code_lines(tmp_path / name)) == lines
    assert counts(tmp_path)["product"]["code_lines"] == lines


def test_product_and_tests_are_apart(tmp_path):
    for folder in ("house", "Testing/house", ".venv", "build"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "room.py").write_text("x = 1\n")
    figures = counts(tmp_path)
    assert figures["product"]["folders"] == {"house": {"files": 1, "code_lines": 1}}
    assert figures["tests"]["folders"] == {"Testing/house": {"files": 1, "code_lines": 1}}


def test_what_is_too_long_is_named(tmp_path):
    (tmp_path / "room.py").write_text("def long():\n" + "    x = 1\n" * 60 + "\n" * 340)
    product = counts(tmp_path)["product"]
    assert product["functions_over_60"] == {"room.py:long": 61} == product["longest_function"]
    assert product["files_over_400"] == {"room.py": 401} == product["longest_file"]


def test_questions_after_the_kind_are_counted(tmp_path):
    asked = """if flat: f(flat)  # flat
inflate, Flat = "-", 1
isinstance(f(a), PictureROI | Other); isinstance(a, NoduleROI)
isinstance(a, Other); NoduleROI(a)
card.input != "nodule"
if card.fusion == "graph" or "mean" == other: pass
given = fusion
if "view_share" in values: pass
for view_share in values: pass
"""
    (tmp_path / "room.py").write_text(f'"""flat"""\n{asked}')
    assert list(counts(tmp_path)["product"]["kind_questions"].values()) == [1, 1, 2, 1]
    assert len(KIND_QUESTIONS) == 4


def test_the_figure_is_drawn(tmp_path):
    draw(REPOSITORY, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    arrows, files = chapters(REPOSITORY)
    assert all(f"<!-- {name.rpartition('.')[2]} -->" in text for name in arrows if "." in name)
    assert files["MAEMCLib.scoring"] == 1 and "MAEMCLib.errors" in floors(arrows)


def test_floors_and_shortcuts():
    arrows = {"top": {"middle", "low"}, "middle": {"low"}, "low": set()}
    assert floors(arrows) == {"low": 0, "middle": 1, "top": 2}
    assert without_shortcuts(arrows) == {"top": {"middle"}, "middle": {"low"}, "low": set()}
