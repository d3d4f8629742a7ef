"""What a test may not leave behind: observers on the scene, and errors that VTK printed."""


class Watch:
    """Counts the scene's observers when made; ``finish`` names those which were added and not removed."""

    def __init__(self, scene):
        self._scene = scene
        self._before = scene_observers(scene)

    def finish(self) -> list[str]:
        left = scene_observers(self._scene)
        problems = []
        for event, count in left.items():
            extra = count - self._before.get(event, 0)
            if extra > 0:
                problems.append(f"{extra} observer(s) of {event} were left on the scene: remove them in cleanup()")
        return problems


def scene_observers(scene) -> dict[str, int]:
    """{event name: number of observers}, read from what the scene prints: VTK offers no other way."""
    found = {}
    text = str(scene)
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("EventName:"):
            name = line.split(":", 1)[1].strip()
            found[name] = found.get(name, 0) + 1
    return found
