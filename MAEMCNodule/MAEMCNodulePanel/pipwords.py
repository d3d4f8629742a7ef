"""What pip has said when an installation failed: its last line that means something, and what a person can do."""

import contextlib
import logging
import re
import sys
from collections import deque

from slicer.i18n import tr as _

lastLines: deque = deque(maxlen=40)
"""The last lines of the latest installation that failed, for a report."""
_LONGEST = 200
_CAUSES = (
    (r"no space left|errno 28|not enough space|disk quota", "space"),
    (r"from versions: (?!none)", "version"),
    (r"certificate|SSLError|SSL:", "certificate"),
    (r"ProxyError|connect to proxy|proxy authentication", "proxy"),
    (
        r"name or service not known|name resolution|getaddrinfo|NewConnectionError|ConnectTimeout|ReadTimeout|"
        r"network is unreachable|connection (?:refused|reset|aborted|broken)|Max retries exceeded|timed out",
        "network",
    ),
    (r"permission denied|errno 13|access is denied|WinError 5\b|being used by another process|WinError 32", "rights"),
    (r"No matching distribution|Could not find a version", "version"),
)
"""What pip's lines say of the cause; one that is further up explains those below it (without a network, no version of
anything is found)."""
_ERROR = re.compile(r"\b(?:error|fatal|failed|cannot|could not|no such)\b", re.IGNORECASE)
_EMPTY = re.compile(
    r"non-zero exit status|^Traceback|^\s*File \"|^\s*\^+|\[notice\]|^WARNING: You are using pip|^pip install$", re.I
)


def failureText(what: str, lines, error: BaseException) -> str:
    """One sentence on what failed with pip's last meaningful line, and one on what to do."""
    stripped = [line.strip() for line in (*lines, *str(error).splitlines())]
    spoken = [withoutFolders(line) for line in stripped if line and not _EMPTY.search(line)]
    lastLines.clear()
    lastLines.extend(spoken)
    line, cause = _meaning(spoken)
    reason = line[:_LONGEST].rstrip(". ") or type(error).__name__
    return f"{what} ({reason}). {_actions()[cause]}"


@contextlib.contextmanager
def listening():
    """Collects the lines that are printed and logged meanwhile, which go their usual way, too."""
    lines: deque = deque(maxlen=400)
    handler = logging.Handler()
    handler.emit = lambda record: lines.extend(record.getMessage().splitlines())
    logging.getLogger().addHandler(handler)
    try:
        with (
            contextlib.redirect_stdout(_Ear(sys.stdout, lines)),
            contextlib.redirect_stderr(_Ear(sys.stderr, lines)),
        ):
            yield lines
    finally:
        logging.getLogger().removeHandler(handler)


class _Ear:
    """A stream that passes everything on and remembers the lines."""

    def __init__(self, stream, lines) -> None:
        self._stream, self._lines, self._rest = stream, lines, ""

    def write(self, text: str):
        *whole, self._rest = (self._rest + str(text)).split("\n")
        self._lines.extend(whole)
        return self._stream.write(text) if self._stream is not None else len(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _meaning(lines) -> tuple:
    """(line, cause): the last line that names the cause, else the last one that speaks of an error."""
    for pattern, cause in _CAUSES:
        for line in reversed(lines):
            if re.search(pattern, line, re.IGNORECASE):
                return line, cause
    return next((line for line in reversed(lines) if _ERROR.search(line)), lines[-1] if lines else ""), "other"


def _actions() -> dict:
    return {
        "space": _("Free some gigabytes on the disk that Slicer is on and try again."),
        "certificate": _("Have your IT set the certificate of your network (pip's variable PIP_CERT) and try again."),
        "proxy": _("Set your network's proxy (variables HTTP_PROXY and HTTPS_PROXY), restart Slicer and try again."),
        "network": _("Check the network connection, or the proxy of your network, and try again."),
        "version": _("Nothing on offer fits this Slicer and this computer: update Slicer and its extensions."),
        "rights": _("Restart Slicer, with rights to write into its own folder, and try again."),
        "other": _("The rest of what pip said is under Details."),
    }


def withoutFolders(line: str) -> str:
    """A line for people and for reports: without folders of this machine, and the insides of Python objects."""
    line = re.sub(r"<[^<>]* object at 0x[0-9A-Fa-f]+>(?:: )?", "", line)
    line = re.sub(r"Retrying \(Retry\(.*?\)\) after ", "", line)
    line = re.sub(r"[A-Za-z]:[\\/][^'\"<>|*?]*[\\/]", "", line)
    line = re.sub(r"(?<=['\"])/[^'\"]*/", "", line)
    return re.sub(r"(?<![\w:/])/(?:[^\s'\"/:]+/)+", "", line)
