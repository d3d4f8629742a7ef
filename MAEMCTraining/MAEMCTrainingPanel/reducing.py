"""Leaving out similar slices in a process that no window waits for: what is asked for, where it is done, how far it is.

Runs beside the window, in a thread of its own: no Qt, no MRML and no translation here.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from MAEMCLib.errors import MAEMCError
from MAEMCLib.files.atomic import make_folder, read_json, write_json

from .commands import ChildCommands, manifestFolder

_PARTLY = 3
"""Exit status of ``maemc-train reduce`` where it left out what it could not read."""
_REQUEST, _RESULT, _PARTIAL = "request.json", "reduced.csv", "reduced-partial.jsonl"


@dataclasses.dataclass(frozen=True)
class ReductionRequest:
    """How similar slices are found, in the words of ``maemc-train reduce``; the default is the paper's best rule.

    threshold, or instead of it the share of each volume that stays; both None: the method's own threshold. every: with
    "every-n" one slice of so many stays. weights: the file for "deepnet".
    """

    method: str = "hash"
    threshold: float | None = None
    share: float | None = None
    selection: str = "leader"
    every: int = 10
    weights: str = ""
    device: str = "auto"

    def arguments(self) -> list:
        """What would be typed after ``maemc-train reduce MANIFEST``, but for the output."""
        words = ["--method", self.method]
        if self.method == "every-n":
            return [*words, "--every", str(self.every)]
        if self.share is not None:
            words += ["--keep", f"{self.share:g}"]
        else:
            words += ["--selection", self.selection]
            words += [] if self.threshold is None else ["--threshold", f"{self.threshold:g}"]
        return words + (["--weights", self.weights, "--device", self.device] if self.method == "deepnet" else [])


@dataclasses.dataclass(frozen=True)
class ReductionProgress:
    """How far a reduction is: the volume that is compared, of how many, and the time left; 0 and None where it has not
    said so yet."""

    volume: int = 0
    volumes: int = 0
    secondsLeft: float | None = None


def reduceData(
    commands: ChildCommands,
    source: Path,
    request: ReductionRequest,
    home: Path,
    onProgress: Callable[[ReductionProgress], None],
) -> tuple:
    """Leave out slices that look like others of their volume: (the manifest of those that stay, under
    ``MAEMC_HOME/manifests``; slices kept; slices compared; a line for each that could not be read).

    The same request goes on in its folder where it was ended. onProgress: told how far it is, from another thread.
    Raises MAEMCError with the last words of the process that failed, of the code "stopped" where it was ended.
    """

    def consume(line: str) -> bool:
        try:
            progress = json.loads(line)
            onProgress(ReductionProgress(progress["volume"], progress["volumes"], progress["seconds_left"]))
        except (ValueError, KeyError, TypeError):  # another line than those of --progress-json
            return False
        return True

    folder = next((folder for folder, begun in _begun(home, source) if begun == request), None)
    manifest = (folder or _newFolder(home, source, request)) / _RESULT
    arguments = ["reduce", str(source), *request.arguments(), "--output", str(manifest), "--progress-json"]
    _output, complaints = commands.run("MAEMCTrainingLib", *arguments, partly=_PARTLY, consume=consume)
    summary = read_json(manifest.with_name("reduced-summary.json"), "The reduction's summary")
    left_out = [line.removeprefix("left out ") for line in complaints if line.startswith("left out ")]
    return manifest, summary["kept"], summary["slices"], left_out


def unfinished(home: Path, source: Path) -> list:
    """The requests for these data of which a part is done, the last one first."""
    partial = [(folder / _PARTIAL, request) for folder, request in _begun(home, source)]
    times = [(path.stat().st_mtime, request) for path, request in partial if path.is_file()]
    return [request for _time, request in sorted(times, key=lambda pair: pair[0], reverse=True)]


def _begun(home: Path, source: Path) -> list:
    """[(folder, request)] for these data, of those without a result."""
    begun = []
    for path in sorted((home / "manifests").glob(f"*/{_REQUEST}")):
        try:
            note = read_json(path, "A request")
            request = ReductionRequest(**note["request"])
        except (MAEMCError, KeyError, TypeError):
            continue
        if note["source"] == str(source) and not (path.parent / _RESULT).exists():
            begun.append((path.parent, request))
    return begun


def _newFolder(home: Path, source: Path, request: ReductionRequest) -> Path:
    folder = manifestFolder(home, f"{source.stem}-reduced")
    make_folder(folder)
    write_json(folder / _REQUEST, {"source": str(source), "request": dataclasses.asdict(request)})
    return folder
