"""A command and its terminal: Ctrl-C and SIGTERM as one exception wherever a command is, the loading of its libraries
included; and printing that is harmless, since names come from files of strangers, and a terminal obeys control
characters in them."""

import _thread
import codecs
import contextlib
import re
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

_BIDI_AND_BREAKS = "\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_STEERING = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI_AND_BREAKS}]")
_STEERING_BUT_LINES = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI_AND_BREAKS}]|\r(?!\n)")
_RENEWED = ("\r\x1b[K", "\r")  # how our own commands begin a line that takes the place of the last one
_ENCODE = "maemc-escaped"


def visible(text: str) -> str:
    """A name that can be printed within a line. Characters that would steer a terminal, break the line or turn its
    letters round (controls, line separators, bidirectional controls), and surrogates, are shown as ``\\u001b``."""
    return _STEERING.sub(_escaped, text)


@contextlib.contextmanager
def harmless_printing() -> Iterator[None]:
    """Within the block whatever is printed steers no terminal and fails for no letter that the console lacks.

    Escapes are those of JSON, so that a JSON document that is printed stays the data that it is.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _Harmless(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Harmless:
    """A text stream that lets through lines and tabs, and at the beginning of what is written our own renewing of a
    line; of other controls it shows the code."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        start = next((start for start in _RENEWED if text.startswith(start)), "")
        shown = start + _STEERING_BUT_LINES.sub(_escaped, text[len(start) :])
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(shown.encode(encoding, _ENCODE).decode(encoding))
        return len(text)

    def writelines(self, lines) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def _escaped(found: re.Match) -> str:
    return f"\\u{ord(found[0]):04x}"


def _encoded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (letters[index : index + 2].hex() for index in range(0, len(letters), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


codecs.register_error(_ENCODE, _encoded)


class Terminated(KeyboardInterrupt):
    """SIGTERM: the command ends as after Ctrl-C, with what it has written in order."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within the block SIGTERM raises ``Terminated``, and an interruption that Python would drop comes again: in a
    destructor or a callback of the garbage collector it can only be printed there, as a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, hook = signal.signal(signal.SIGTERM, _terminate), sys.unraisablehook

    def again(dropped) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            number = signal.SIGTERM if isinstance(dropped.exc_value, Terminated) else signal.SIGINT
            threading.Timer(0.02, _send, (number,)).start()
        else:
            hook(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def _send(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # wakes the main thread from a system call too
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        _thread.interrupt_main(number)


def _terminate(number: int, frame: object) -> None:
    raise Terminated
