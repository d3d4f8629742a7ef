"""The worker's end of the protocol: requests on stdin, answers on stdout, a warm model between them.

Nothing a line can hold ends the process; end of input does. Nothing listens on a network.

A request's ``id`` comes back with every message about it where it is a text or a whole number (of at most 200 letters,
below 2^53); anything else comes back as null.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from .. import __version__
from ..errors import MAEMCError, UsageError
from ..files.strict_json import parse_json
from ..machine.installation import check_torch, explained
from .protocol import LINE_LIMIT, decode_case, decode_planes, encode_array, require
from .reports import Reports, decode_page
from .training_nodules import ShownNodules

_LARGEST_REQUEST = 64
"""Nodules a request may hold; the line limit comes first with float32 voxels."""
_LONGEST_MESSAGE = 2000
"""Letters; an error may quote what was sent."""


class Server:
    """Answers requests one after the other; keeps the last model loaded."""

    def __init__(self, reply: Callable[[dict], None]) -> None:
        self._reply = reply
        self._key: tuple | None = None
        self._predictor = None
        self._autoencoder = None
        self._requests = {
            "hello": self._hello,
            "device": self._device,
            "predict": self._predict,
            "explain": self._explain,
            "report_page": self._report_page,
            "report": self._report,
            "import": self._import,
            "calibration": self._calibration,
            "dicom": self._dicom,
            "alike": self._alike,
        }
        self._reports = Reports()
        self._shown = ShownNodules()

    def answer(self, line: bytes) -> None:
        """Answer one line; every defect of it becomes an error object."""
        number = None
        try:
            message = _message(line)
            number = _echoed(message.get("id"))
            name = message.get("request")
            handler = self._requests.get(name) if isinstance(name, str) else None
            shown = repr(name) if isinstance(name, str) else "that is no text"
            require(handler, f"Unknown request {shown}. Known: {', '.join(self._requests)}.", "unknown-request")
            self._reply({"id": number, "kind": "result", **handler(message)})
        except MAEMCError as error:
            self._error(number, error)
        except BrokenPipeError:
            raise
        except Exception as error:
            with contextlib.suppress(OSError):
                traceback.print_exc()
            text = f"The request failed ({type(error).__name__}: {error}). See the log."
            self._error(number, explained(error) or MAEMCError(text, "internal"))

    def oversized(self) -> None:
        """Answer a line that was longer than LINE_LIMIT."""
        text = f"A line is longer than {LINE_LIMIT >> 20} MiB. Send fewer nodules a request."
        self._error(None, UsageError(text, "oversized"))

    def _error(self, number: object, error: MAEMCError) -> None:
        text = str(error)
        shown = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
        self._reply({"id": number, "kind": "error", "code": error.code, "message": shown})

    def _progress(self, message: dict, stage: str, fraction: float) -> None:
        number = _echoed(message.get("id"))
        self._reply({"id": number, "kind": "progress", "stage": stage, "fraction": round(fraction, 3)})

    def _hello(self, message: dict) -> dict:
        return {"software": f"maemc {__version__}", "pid": os.getpid()}

    def _device(self, message: dict) -> dict:
        check_torch()
        import safetensors.torch  # noqa: F401 (scoring needs it: that it is missing is said now, not at the first nodule)

        from ..machine.device import describe

        return {"device": describe(_text(message, "device", "auto"))}

    def _predict(self, message: dict) -> dict:
        nodules = _nodules(message)
        predictor = self._load(message)
        cases = [decode_case(nodule, predictor.card) for nodule in nodules]
        fields = [decode_planes(nodule) for nodule in nodules]
        predictions = predictor.predict(cases, lambda share: self._progress(message, "scoring", share))
        outlines = [None if planes is None else encode_array(predictor.outline(*planes)) for planes in fields]
        return {
            "predictions": [asdict(p) for p in predictions],
            "outlines": outlines,
            "device": predictor.device,
            **self._model(),
        }

    def _explain(self, message: dict) -> dict:
        from ..explain.explanation import explain
        from ..figures.words import sentences
        from ..models.autoencoder import load_autoencoder
        from .maps import encode_maps

        nodules = _nodules(message)
        predictor = self._load(message)
        case = decode_case(nodules[0], predictor.card)
        self._progress(message, "explaining", 0.0)
        self._autoencoder = self._autoencoder or load_autoencoder(predictor)
        measured = message.get("measured", False)
        require(isinstance(measured, bool), "'measured' of a request is true or false.", "measured")
        explanation = explain(predictor, case, self._autoencoder, measured=measured)
        parts = {
            part: {branch: encode_array(array) for branch, array in branches.items()}
            for part, branches in explanation.parts().items()
        }
        further = encode_maps(explanation) if measured else {}
        return {**parts, **further, "sentences": sentences(explanation), **self._model()}

    def _report_page(self, message: dict) -> dict:
        page = message.get("nodule")
        self._progress(message, "drawing", 0.0)
        explained = self._explained(message, page) if isinstance(page, dict) and page.get("case") else ()
        decoded = self._shown.with_alike(decode_page(page, explained), _text(message, "model"))
        return {"pages": self._reports.add(_document(message), message.get("number"), decoded)}

    def _alike(self, message: dict) -> dict:
        return {"pictures": self._shown.pictures(_text(message, "model"), message.get("numbers"))}

    def _explained(self, message: dict, page: dict) -> list:
        """What explains the number of a page, for the report."""
        from ..explain.explanation import explain
        from ..models.autoencoder import load_autoencoder
        from ..report.nodule_page import explained_parts
        from ..report.sections import Figure

        predictor = self._load(message)
        kind = predictor.card.kind
        require(isinstance(page["case"], dict), "The case of a page is an object with arrays.", "nodules")
        case, result = decode_case(page["case"], predictor.card), decode_page(page).result
        self._autoencoder = self._autoencoder or load_autoencoder(predictor)
        explanation = explain(predictor, case, self._autoencoder, measured=True)
        figures = kind.figures(result, case, explanation).items()
        return explained_parts(explanation, [Figure.drawn(figure, name) for name, figure in figures])

    def _report(self, message: dict) -> dict:
        from ..models.bundle import read_card
        from ..models.store import find_model

        folder, card = _text(message, "folder"), read_card(find_model(_text(message, "model")))
        require(folder, "A report needs a 'folder' that its files go to.", "folder")
        self._progress(message, "writing", 0.0)
        whole = _document(message), message.get("pages"), Path(folder), _text(message, "patient", "")
        return {"files": self._reports.write(*whole, card)}

    def _dicom(self, message: dict) -> dict:
        from ..models.store import find_model, read_card
        from .dicom_results import write_dicom_results

        self._progress(message, "writing", 0.0)
        return write_dicom_results(message, read_card(find_model(_text(message, "model"))))

    def _calibration(self, message: dict) -> dict:
        from .drawing import calibration_png

        return {"png": calibration_png(_text(message, "model"))}

    def _import(self, message: dict) -> dict:
        from ..models.store import import_model

        path = _text(message, "file")
        require(path, "'file' of a request names the bundle to import.", "file")
        model = import_model(path, _text(message, "sha256"))
        return {"name": model.name, "note": model.note}

    def _load(self, message: dict):
        from ..models.bundle import ModelBundle, read_card
        from ..models.store import find_model

        path, device = find_model(_text(message, "model")), _text(message, "device", "auto")
        key = (path, read_card(path).sha256, device)  # the card names every file's hash: a replaced model is noticed
        if key != self._key:
            self._progress(message, "loading", 0.0)
            check_torch()
            from ..models.reference_case import open_predictor

            self._key = self._predictor = self._autoencoder = None  # never two models in memory
            self._predictor = open_predictor(ModelBundle.open(path), device)
            self._key = key
        return self._predictor

    def _model(self) -> dict:
        card = self._predictor.card
        return {"model": {"id": card.id, "version": card.version, "sha256": card.sha256}}


def _message(line: bytes) -> dict:
    """One line's object. Raises UsageError: not JSON (which has no NaN and no infinity), or no object."""
    try:
        message = parse_json(line)
    except ValueError as error:
        raise UsageError(f"A line is not JSON ({error}). Send one JSON object a line.", "malformed") from error
    require(isinstance(message, dict), "A line holds no JSON object. Send one JSON object a line.", "malformed")
    return message


def _echoed(number: object) -> str | int | None:
    """What comes back of a request's id."""
    if isinstance(number, str):
        return number if len(number) <= 200 else None
    return number if isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**53 else None


def _document(message: dict) -> str:
    document = _text(message, "document")
    require(document, "A report needs a 'document', a text that tells it from others.", "document")
    return document


def _text(message: dict, name: str, default: str | None = None) -> str | None:
    """A field that is a text, or is left out. Raises UsageError."""
    value = message.get(name)
    if value is None:
        return default
    require(isinstance(value, str) and "\0" not in value, f"'{name}' of a request is a text, or left out.", name)
    return value


def _nodules(message: dict) -> list[dict]:
    """The cases of a request, whatever they are of."""
    nodules = message.get("nodules")
    several = isinstance(nodules, list) and 1 <= len(nodules) <= _LARGEST_REQUEST
    require(several, f"A request needs 1 to {_LARGEST_REQUEST} cases in a list 'nodules'.", "nodules")
    require(all(isinstance(nodule, dict) for nodule in nodules), "Each case is an object with arrays.", "nodules")
    return nodules


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer lines until the input ends."""

    def reply(message: dict) -> None:
        answers.write(json.dumps(message, allow_nan=False).encode() + b"\n")
        answers.flush()

    server = Server(reply)
    while line := requests.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            while line and not line.endswith(b"\n"):
                line = requests.readline(LINE_LIMIT)
            server.oversized()
        elif line.strip():
            server.answer(line)


def main() -> None:
    """Serve on this process's stdin and stdout; what libraries print goes to stderr, so that it breaks no line.

    Raises UsageError where one of them is closed.
    """
    try:
        requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    except (AttributeError, OSError, io.UnsupportedOperation) as error:
        raise UsageError(
            "'maemc serve' is asked on its standard input and answers on its standard output, and one of them is "
            "closed. Slicer's module starts it; for a terminal there is 'maemc score'.",
            "no-pipe",
        ) from error
    with open(os.devnull, "wb") as nowhere:
        os.dup2((sys.stderr or nowhere).fileno(), sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # the owner is gone
        serve(requests, answers)
