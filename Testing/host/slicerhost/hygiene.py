"""What a test may not leave behind: observers on the scene, errors that VTK reported."""

import re
import weakref

# Errors that real Slicer reports in the same situation and that mean nothing to the code under test.
HARMLESS = (re.compile(r"bad X server connection"),)

_vtk_errors: list[str] = []


def listen_to_vtk() -> None:
    """Collect what VTK and MRML report as errors, besides their being printed."""
    import vtk

    window = vtk.vtkOutputWindow.GetInstance()

    @vtk.calldata_type(vtk.VTK_STRING)
    def collect(caller, event, text):
        if not any(pattern.search(text) for pattern in HARMLESS):
            _vtk_errors.append(text.strip())

    window.AddObserver("ErrorEvent", collect)


def take_vtk_errors() -> list[str]:
    """Return the errors reported since the last call, and forget them: for tests that expect some."""
    taken = list(_vtk_errors)
    _vtk_errors.clear()
    return taken


def _event_names() -> dict[str, str]:
    """{number: name} of MRML's own events, which VTK prints as NoEvent or UserEvent."""
    import slicer

    kinds = (slicer.vtkMRMLScene, slicer.vtkMRMLNode, slicer.vtkMRMLDisplayableNode)
    return {
        str(getattr(kind, name)): name
        for kind in kinds
        for name in dir(kind)
        if name.endswith("Event") and isinstance(getattr(kind, name), int)
    }


def observers(thing) -> dict[str, int]:
    """{event name: number of observers} of a VTK object, read from what it prints: VTK offers no other way."""
    names, number, found = _event_names(), "", {}
    for line in str(thing).splitlines():
        key, _, value = line.strip().partition(":")
        if key == "Event":
            number = value.strip()
        elif key == "EventName":
            name = names.get(number, value.strip())
            found[name] = found.get(name, 0) + 1
    return found


# Objects with VTKObservationMixin that have added an observer since the last Watch was made.
_observing: weakref.WeakSet = weakref.WeakSet()


def follow_observation_mixin() -> None:
    """Remember who adds observers through ``VTKObservationMixin``: on any node, not only on the scene."""
    import slicer

    mixin = slicer.util.VTKObservationMixin
    add = mixin.addObserver

    def addObserver(self, *arguments, **keywords):
        _observing.add(self)
        return add(self, *arguments, **keywords)

    mixin.addObserver = addObserver


def _still_observing() -> list[str]:
    problems = []
    for one in list(_observing):
        kinds = sorted({observed.GetClassName() for observed, *_ in one.Observations if observed is not None})
        if kinds:
            problems.append(f"{type(one).__name__} still observes {', '.join(kinds)}: call removeObservers()")
    return problems


class Watch:
    """Counts observers when made; ``finish`` names those which were added since and not removed."""

    def __init__(self, scene):
        import slicer

        logic = slicer.app.applicationLogic()
        self._watched = {
            "the scene": scene,
            "the selection node": logic.GetSelectionNode(),
            "the interaction node": logic.GetInteractionNode(),
        }
        self._before = {name: observers(thing) for name, thing in self._watched.items()}
        take_vtk_errors()
        _observing.clear()

    def finish(self) -> list[str]:
        problems = []
        for name, thing in self._watched.items():
            for event, count in observers(thing).items():
                extra = count - self._before[name].get(event, 0)
                if extra > 0:
                    problems.append(f"{extra} observer(s) of {event} were left on {name}: remove them in cleanup()")
        problems.extend(_still_observing())
        return problems + [f"VTK reported an error: {text}" for text in take_vtk_errors()]
