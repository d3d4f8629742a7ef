"""How the module's parts hang together: arrows one way, a card read once, and a model noticed when it changes."""

import os
from collections import deque
from types import FunctionType, MethodType

import pytest
from MAEMCLib.errors import ModelError


def known_to(part) -> set:
    """``id`` of every object that a part holds on to, itself or by what of ours it holds; a signal knows nobody."""
    from MAEMCNodulePanel.status import Signal

    found, waiting = {}, [part]
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, Signal):
            continue
        found[id(one)] = one
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple | set | deque):
            waiting += one
        elif isinstance(one, MethodType):
            waiting.append(one.__self__)
        elif isinstance(one, FunctionType):
            waiting += [cell.cell_contents for cell in one.__closure__ or ()]
        elif type(one).__module__.startswith("MAEMC"):
            waiting += vars(one).values()
    return set(found)


def test_arrows_go_one_way(panel, add_ct):
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.logic.poll()
    assert panel.logic.isBusy(), "with a request under way"
    logic, observer, queue = panel.logic, panel.logic._observer, panel.logic.queue
    for part in (observer, queue, logic._upkeep, logic.display, logic.statusLine):
        assert not {id(logic), id(panel.widget)} & known_to(part)
    assert not {id(queue), id(logic._upkeep), id(logic.display)} & known_to(observer), "the observer only tells"
    assert id(observer) in known_to(queue) and id(logic._upkeep) not in known_to(queue)
    assert {id(observer), id(queue)} < known_to(logic._upkeep), "and this walk does find what is held"
    panel.settle()


@pytest.fixture
def read(panel, monkeypatch):
    """The cards that have been read since, by path; the list is the test's to empty."""
    from MAEMCLib.models import store
    from MAEMCNodulePanel import modelchoice

    paths, read_card = [], store.read_card
    for module in (store, modelchoice):
        monkeypatch.setattr(module, "read_card", lambda path: paths.append(path) or read_card(path))
    return paths


def test_a_card_is_read_when_it_changes_and_not_at_every_tick(panel, add_ct, models, read):
    add_ct()
    panel.settle()
    panel.place((0, 0, 0))
    panel.settle()
    assert panel.records()[0].state == "scored" and read == []
    path = models / "models" / "random.maemc"
    os.utime(path, ns=(1, os.stat(path).st_mtime_ns + 10**9))
    panel.widget.refresh()
    assert read
    read.clear()
    for beside in (path.with_name(".coming.maemc"), path.with_name("notes.txt")):
        beside.touch()
        panel.widget.refresh()
        beside.unlink()
        panel.widget.refresh()
    assert read == [], "what is no bundle is no reason to look"


def test_a_model_that_comes_back_is_noticed(panel, models, read):
    path, away = models / "models" / "random.maemc", models / "away.maemc"
    path.rename(away)
    try:
        with pytest.raises(ModelError):
            panel.logic.chosenModel()
        panel.widget.refresh()
        assert read == [], "nothing is there to read"
    finally:
        away.rename(path)
    assert panel.logic.chosenModel().path == path
