"""What pip has said when an installation failed: its last line that means something, and what a person can do."""

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
    said = [line.strip() for line in lines if line.strip()]
    said += [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [withoutFolders(line) for line in said if not _EMPTY.search(line)]
    lastLines.clear()
    lastLines.extend(said)
    line, cause = _meaning(said)
    reason = line[:_LONGEST].rstrip(". ") or type(error).__name__
    return f"{what} ({reason}). {_actions()[cause]}"


class Listening:
    """While it is entered, ``lines`` collects what is printed and logged, which goes its usual way, too."""

    def __init__(self) -> None:
        self.lines: deque = deque(maxlen=400)

    def __enter__(self) -> "Listening":
        self._before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Ear(stream, self.lines) for stream in self._before)
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.lines.extend(record.getMessage().splitlines())
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(self, *error) -> None:
        sys.stdout, sys.stderr = self._before
        logging.getLogger().removeHandler(self._handler)


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
