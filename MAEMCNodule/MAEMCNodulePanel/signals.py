"""How those who notice something tell those who act on it, without knowing them."""

from collections.abc import Callable


class Signal:
    """Calls every function that is connected, in the order in which they were."""

    def __init__(self) -> None:
        self._listeners: list[Callable] = []

    def connect(self, listener: Callable) -> None:
        self._listeners.append(listener)

    def emit(self, *arguments) -> None:
        for listener in list(self._listeners):
            listener(*arguments)

    def disconnectAll(self) -> None:
        self._listeners.clear()
