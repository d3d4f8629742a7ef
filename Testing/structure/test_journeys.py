"""What counts as a step of a journey, on small written packages; and that real runs sample and read once."""

import importlib
import sys
import threading

import pytest

from Testing.structure.journeys import journeys
from Testing.structure.tracer import Tracer
from Testing.structure.tree import REPOSITORY

STACKS_A_NODULE = {"score": 16, "pretrain": 2}
"""How often a nodule is sampled: 2, axial and coronal, is once. Scored, it is outlined besides (3: planes of its
field, the network's answer at the CT's voxels, voxels of the mask), looked at (5: both stacks with a margin for clicks
beside the point, the detector's patch, what the mask holds, what lies near it), and drawn (6: three planes, the mask in
each)."""
MANIFEST_READ = {"score": 0, "pretrain": 1}
"""How often the manifest is opened."""


@pytest.fixture
def walk(tmp_path, monkeypatch):
    """``walk({module: text}, run=None, **asked)``: the tracer after ``run(module)`` of a package."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def follow(modules, run=lambda first: first.start(), **asked):
        for name, text in {"__init__": "", **modules}.items():
            (tmp_path / "house").mkdir(exist_ok=True)
            (tmp_path / "house" / f"{name}.py").write_text(text)
        tracer = Tracer([tmp_path / "house"], **asked)
        first = importlib.import_module("house.first")
        with tracer.following():
            run(first)
        return tracer

    yield follow
    for name in [name for name in sys.modules if name.split(".")[0] == "house"]:
        del sys.modules[name]


def rooms(tracer):
    return [file.removeprefix("house/").removesuffix(".py") for file in tracer.route]


THIRD = "def end(): pass\ndef other(): pass\n"


def test_a_walk_forward_has_no_return(walk):
    first = (
        "from . import second, third\ndef start():\n    second.go()\n    help()\n    third.other()\ndef help(): pass\n"
    )
    tracer = walk({"first": first, "second": "from .third import end\ndef go(): end()\n", "third": THIRD})
    assert rooms(tracer) == ["first", "second", "third"]
    figures = tracer.figures()
    assert (figures["stays"], figures["rooms"], figures["returns"]) == (3, 3, 0)


def test_a_call_back_is_a_return(walk):
    first = "from . import second\ndef start(): second.go(back)\ndef back(): pass\n"
    tracer = walk({"first": first, "second": "def go(back): back()\n"})
    assert rooms(tracer) == ["first", "second", "first"]
    assert tracer.figures()["returns"] == 1


def test_a_loop_is_walked_once(walk):
    first = (
        "from . import second, third\ndef start():\n    for _ in range(9):\n        second.go()\n        third.end()\n"
    )
    assert rooms(walk({"first": first, "second": "def go(): pass\n", "third": THIRD})) == ["first", "second", "third"]


def test_another_function_of_a_file_that_was_left_is_a_return(walk):
    first = "from . import second, third\ndef start():\n    third.end()\n    second.go()\n    third.other()\n"
    tracer = walk({"first": first, "second": "def go(): pass\n", "third": THIRD})
    assert rooms(tracer) == ["first", "third", "second", "third"]


def test_a_call_by_way_of_a_library_is_the_callers(walk):
    first = "from . import second\ndef start(): return sorted([2, 1], key=second.key)\n"
    tracer = walk({"first": first, "second": "def key(value): return value\n"})
    assert rooms(tracer) == ["first", "second"]


def test_attributes_that_are_read_are_no_steps(walk):
    second = "from functools import cached_property\nclass A:\n"
    second += "    a = property(lambda self: 1)\n    b = cached_property(lambda self: 2)\n    def c(self): return 3\n"
    first = "from .second import A\none = A()\ndef start(): return one.a + one.b"
    assert rooms(walk({"first": first, "second": second})) == ["first"]
    assert rooms(walk({}, lambda first: first.one.c())) == ["second"]


def test_imports_are_no_steps(walk):
    second = "from . import third\nthird.end()\nclass A:\n    third.other()\ndef go(): pass\n"
    first = "def start():\n    from . import second\n    second.go()\n"
    assert rooms(walk({"first": first, "second": second, "third": THIRD})) == ["first", "second"]


def test_other_threads_follow_the_main_one(walk):
    first = "from . import second, third\ndef start(other):\n    other.start()\n    other.join()\n    third.end()\n"

    def run(first):
        first.start(threading.Thread(target=first.second.go))

    tracer = walk({"first": first, "second": "def go(): pass\n", "third": THIRD}, run)
    assert rooms(tracer) == ["first", "third", "second"]


def test_every_call_and_opening_that_is_asked_for_is_counted(walk, tmp_path):
    table, other = tmp_path / "table.csv", tmp_path / "other.csv"
    table.write_text("")
    other.write_text("")
    first = "import os\nfrom pathlib import Path\nfrom .second import cut\ndef start(table, other):\n"
    first += "    for _ in range(3):\n        cut()\n    open(table).close()\n    Path(table).read_text()\n"
    first += "    os.close(os.open(table, os.O_RDONLY))\n    open(table, 'w').close()\n    open(other).close()\n"

    def run(first):
        first.start(table, other)

    tracer = walk({"first": first, "second": "def cut(): pass\n"}, run, counted=["cut", "paste"], watched=[table])
    figures = tracer.figures()
    assert figures["calls"] == {"cut": 3, "paste": 0}
    assert figures["openings"] == {"table.csv": 3}
    assert rooms(tracer) == ["first", "second"]


@pytest.fixture(scope="module")
def walked():
    return journeys(REPOSITORY, list(STACKS_A_NODULE))


@pytest.mark.soak
@pytest.mark.parametrize("name", STACKS_A_NODULE)
def test_real_runs_sample_and_read_no_more_than_they_did(walked, name):
    figures = walked[name]
    assert figures["calls"]["sample_stack"] == STACKS_A_NODULE[name] * figures["nodules"]
    assert figures["openings"]["manifest.csv"] == MANIFEST_READ[name]
    assert figures["rooms"] > 10 and figures["stays"] == len(figures["route"])
