"""The way of a nodule from its point through the worker to its record: when it is due, what is sent and answered."""

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import MAEMCLib
from MAEMCLib import scoring
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.values import SERIES
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.models.card import ModelCard
from MAEMCLib.models.store import StoredModel
from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.protocol import decode_array, decode_outline, decode_prediction, encode_case
from slicer.i18n import tr as _

from . import labels, nodes, pictures
from .analysis import Analysis, NoduleRecord
from .clinicalvalues import clinicalInput, clinicalOf, seriesNames
from .explanations import Explained, Explanations
from .installing import inPanelWords
from .modelchoice import chosenModel
from .sceneobserver import SceneObserver
from .status import Signal, Status, StatusLine
from .volumes import ctVolume, lpsFromRas, sameInput

POLL_SECONDS = 0.03
"""A poll begins nothing new after this time; one step takes less than as much again."""


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What the worker is to answer. kind: "predict" or "explain"; pictures: whether a prediction is to be followed by
    an explanation."""

    kind: str
    analysisID: str
    pointID: str
    prepared: object
    model: StoredModel
    pictures: bool

    @property
    def key(self) -> tuple:
        return (self.analysisID, self.pointID)


@dataclasses.dataclass(frozen=True, eq=False)
class Errand:
    """Another question to the worker than for a score. answered: called with the message of its result or error."""

    answered: Callable[[dict], None]


class ScoringQueue:
    """Nodules that wait for their time, or are with the worker. Nothing here waits; ``poll`` does what can be done.

    deviceRequest: what the worker is to compute on. device: what it computes on, as far as it has told. explanations:
    of the nodules that were explained last.
    """

    def __init__(self, worker: WorkerClient, observer: SceneObserver, statusLine: StatusLine) -> None:
        self.scored = Signal()
        """(analysis, point ID)."""
        self.outlined = Signal()
        """(analysis, point ID, NoduleMask, or None where the network has outlined no nodule at the point, name and
        version of the network with a bar between): before it is scored."""
        self.explained = Signal()
        """(analysis, point ID): its explanation is among ``explanations``."""
        self.worker = worker
        self.deviceRequest = "auto"
        self.device: dict = {}
        self.explanations = Explanations()
        self._unexplained: dict = {}  # (analysis ID, control point ID) -> result that could not be explained
        self._observer = observer
        self._statusLine = statusLine
        self._due: dict = {}  # (analysis ID, control point ID) -> (monotonic time at which to score it, with pictures)
        self._awaited: dict = {}  # (analysis ID, control point ID) -> the Request whose answer is awaited
        self._answers: deque = deque()
        self._errands: list = []

    def askDevice(self) -> None:
        """Start the worker if need be and ask what it computes on."""
        self.worker.send("device", tag=_DEVICE, device=self.deviceRequest)
        self._awaited[_DEVICE.key] = _DEVICE

    def ask(self, kind: str, answered: Callable[[dict], None], **fields) -> None:
        """Ask the worker something beside the scores; ``answered`` is called by a poll with its message, or with an
        error where everything is stopped before."""
        errand = Errand(answered)
        self._errands.append(errand)
        self.worker.send(kind, tag=errand, **fields)
        self._statusLine.changed.emit()

    def schedule(self, analysis: Analysis, pointID: str, delaySeconds: float = 0.0, pictures: bool = True) -> None:
        """Score a nodule after a while; called again, the later time holds. What the worker had of it is void.

        pictures: whether reconstruction, error and attention are wanted as well; they take longer than the number.
        """
        self._awaited.pop((analysis.id, pointID), None)
        self._due[(analysis.id, pointID)] = (time.monotonic() + delaySeconds, pictures)

    def explain(self, analysis: Analysis, pointID: str, reference: str) -> None:
        """Have a scored nodule's result explained, unless that is under way or has failed before.

        reference: of the model (see ``chosenModel``); a result of another model is not explained by this one.
        """
        key, record = (analysis.id, pointID), analysis.record(pointID)
        if record is None or record.state != "scored" or key in self._awaited or key in self._due:
            return
        if self._unexplained.get(key) == record.result:
            return
        self._unexplained[key] = record.result
        with contextlib.suppress(MAEMCError):  # said where it is scored
            model = chosenModel(reference)
            if model.card.sha256 == record.result["model_sha256"]:
                prepared = scoring.prepare(_caseOf(analysis, pointID, record.name, model.card), model.card)
                self._send(Request("explain", analysis.id, pointID, prepared, model, True))
                self._statusLine.changed.emit()  # there is something to poll for

    def forget(self, analysisID: str = "", pointID: str = "") -> None:
        """Drop one nodule, every nodule of an analysis, or all."""
        for nodules in (self._due, self._awaited):
            for key in list(nodules):
                if analysisID in ("", key[0]) and pointID in ("", key[1]) and key != _DEVICE.key:
                    del nodules[key]

    def isBusy(self, analysis: Analysis | None = None) -> bool:
        """Whether something is with the worker or waits its turn; of one analysis, where it is given."""
        if analysis is None and self._errands:
            return True
        return any(analysis is None or key[0] == analysis.id for key in (*self._awaited, *self._due))

    def poll(self, reference: str) -> None:
        """Bring in what the worker has answered and send what is due, for as long as a window may be kept waiting.

        reference: of the model that scores (see ``chosenModel``).
        """
        until = time.monotonic() + POLL_SECONDS
        self._answers.extend(self.worker.poll())
        while self._answers and time.monotonic() < until:
            self._onAnswer(self._answers.popleft())
        for key in [key for key, (due, _pictures) in self._due.items() if due <= time.monotonic()]:
            if time.monotonic() > until:
                return
            analysis = self._observer.analysis(key[0])
            if analysis is None:
                del self._due[key]
            elif not self._observer.isDragged(analysis):
                self._dispatch(analysis, key[1], self._due.pop(key)[1], reference)
                self._observer.analysisChanged.emit(analysis)

    def stop(self) -> None:
        """End the worker at once: what was under way waits again, results that are there stay."""
        stopped = {*self._awaited, *self._due}
        self.worker.cancel()
        self._awaited.clear()
        self._due.clear()
        errands, self._errands = self._errands, []
        for errand in errands:
            errand.answered({"kind": "error", "code": "stopped", "message": _("Stopped.")})
        for analysisID in {key[0] for key in stopped}:
            analysis = self._observer.analysis(analysisID)
            for pointID, record in analysis.records() if analysis else []:
                if (analysisID, pointID) in stopped:
                    settle(analysis, pointID, record, _("Stopped."))
            if analysis:
                self._observer.analysisChanged.emit(analysis)

    def _dispatch(self, analysis: Analysis, pointID: str, explained: bool, reference: str) -> None:
        record = analysis.record(pointID)
        pointRas = analysis.pointRas(pointID)
        if record is None or pointRas is None:
            return
        try:
            model = chosenModel(reference)
        except MAEMCError as error:
            self._fail(analysis, pointID, self._withInput(analysis, pointID, record, ()), error, None)
            return
        record = self._withInput(analysis, pointID, record, seriesNames(model.card.clinical))
        try:
            prepared = scoring.prepare(_caseOf(analysis, pointID, record.name, model.card), model.card)
            self._send(Request("predict", analysis.id, pointID, prepared, model, explained))
        except MAEMCError as error:
            if error.code == "clinical-missing":  # no failure: it waits for the user to fill them in
                self._wait(analysis, pointID, record, model)
            else:
                self._fail(analysis, pointID, record, _inSlicersWords(error, pointRas), model)
            return
        gray = model.card.preprocessing
        window = (gray.window_lower, gray.window_upper) if analysis.located else None
        setRecord(analysis, pointID, record, "pending", window=window)
        self._statusLine.set(Status("busy", _("Scoring {nodule} ...").format(nodule=_titled(analysis, record))))

    def _send(self, request: Request) -> None:
        nodule = encode_case(request.prepared, request.model.card)
        self._awaited[request.key] = request
        fields = {"model": str(request.model.path), "device": self.deviceRequest, "nodules": [nodule]}
        self.worker.send(request.kind, tag=request, **fields)

    def _withInput(self, analysis: Analysis, pointID: str, record: NoduleRecord, series) -> NoduleRecord:
        """The record with the input as it is now, and without a result that was not of this input."""
        fingerprint = self._observer.lookAt(analysis, pointID, series)
        if fingerprint is None:
            return record
        if not sameInput(record.fingerprint, fingerprint):
            record = dataclasses.replace(record, result=None, explained=False)
        return dataclasses.replace(record, fingerprint=fingerprint)

    def _onAnswer(self, message: dict) -> None:
        request = message["tag"]
        if request in self._errands and message["kind"] in ("result", "error"):
            self._errands.remove(request)
            request.answered({**message, "message": inPanelWords(message.get("code", ""), message.get("message", ""))})
            return
        if message["kind"] not in ("result", "error") or request not in self._awaited.values():
            return
        del self._awaited[request.key]
        failed = message["kind"] == "error"
        error = MAEMCError(inPanelWords(message["code"], message["message"]), message["code"]) if failed else None
        if request is _DEVICE:
            self._onDevice(message, error)
            return
        analysis = self._observer.analysis(request.analysisID)
        record = analysis.record(request.pointID) if analysis else None
        if record is None:
            return
        if error is not None and request.kind == "predict":
            self._fail(analysis, request.pointID, record, error, request.model)
        elif error is not None:
            self._report(analysis, record, error)
        elif request.kind == "predict":
            self._onPrediction(analysis, request, record, message)
        else:
            self._onExplanation(analysis, request, record, message)
        self._observer.analysisChanged.emit(analysis)

    def _onPrediction(self, analysis: Analysis, request: Request, record: NoduleRecord, message: dict) -> None:
        prediction = decode_prediction(message["predictions"][0])
        nodule = decode_outline(message, 0, request.prepared)
        result = scoring.scored(request.prepared, prediction, request.model.card, nodule=nodule)
        result = dataclasses.replace(result, nodule_id=record.name, image=analysis.volumeNode.GetName())
        record = setRecord(analysis, request.pointID, record, "scored", result=result.to_json(), explained=False)
        if analysis.located:
            nodes.showRoi(analysis, request.pointID, record)
            mask = nodule.mask if nodule is not None else None
            self.outlined.emit(analysis, request.pointID, mask, f"MAEMC outline network|{MAEMCLib.__version__}")
        self.device = {**self.device, "name": result.device, "seconds": result.seconds}
        self.explanations.forget(request.key)
        self._statusLine.set(Status())
        self.scored.emit(analysis, request.pointID)
        if request.pictures:
            self._send(dataclasses.replace(request, kind="explain"))

    def _onExplanation(self, analysis: Analysis, request: Request, record: NoduleRecord, message: dict) -> None:
        kinds = ("reconstruction", "error", "attention")
        parts = {kind: {b: decode_array(array) for b, array in message[kind].items()} for kind in kinds}
        sentences = tuple(message.get("sentences", ()))
        explained = Explained(request.prepared, request.model, parts, sentences)
        self.explanations.keep(request.key, explained)
        self._unexplained.pop(request.key, None)
        self.explained.emit(analysis, request.pointID)

    def _report(self, analysis: Analysis, record: NoduleRecord, error: MAEMCError) -> None:
        self._statusLine.set(Status("error", f"{_titled(analysis, record)}: {error}", error.code))

    def _onDevice(self, message: dict, error: MAEMCError | None) -> None:
        if error is not None:
            self._statusLine.fail(error)
            return
        self.device = {**self.device, **message["device"]}
        if not self.isBusy():
            self._statusLine.set(Status())

    def _wait(self, analysis: Analysis, pointID: str, record: NoduleRecord, model) -> None:
        values, fields = clinicalOf(analysis.volumeNode, model.card.clinical), model.card.clinical
        missing = [_described(field) for field in fields if not field.optional and field.name not in values]
        message = _("The model also asks for {names}.").format(names=", ".join(missing))
        settle(analysis, pointID, record, message)
        self._statusLine.set(Status("idle", message))

    def _fail(self, analysis: Analysis, pointID: str, record: NoduleRecord, error: MAEMCError, model) -> None:
        if isScored(record):  # scored again on request and without success: the earlier result is as true as it was
            setRecord(analysis, pointID, record, "scored")
        else:
            point = record.fingerprint["point_lps"] if record.fingerprint else None
            name = analysis.volumeNode.GetName() if analysis.volumeNode is not None else ""
            case = Case("", "", Path(name), point_lps=point, nodule_id=record.name)
            result = scoring.failed(case, error.hide(name), model.card if model else None)
            setRecord(analysis, pointID, record, "failed", str(error), result=result.to_json())
            nodes.removeNodesOf(analysis, pointID)
        self._report(analysis, record, error)


_DEVICE = Request("device", "", "", None, None, False)


def _caseOf(analysis: Analysis, pointID: str, name: str, card: ModelCard) -> Case:
    """A point in its CT, with what the model asks for beside it, or a picture; must not be kept, as ``ctVolume`` says.

    Raises InputError.
    """
    volumeNode = analysis.volumeNode
    if not analysis.located:
        return pictures.caseOf(volumeNode, pointID, name)
    point, values = lpsFromRas(analysis.pointRas(pointID)), clinicalInput(volumeNode, card.clinical)
    return Case("", "", ctVolume(volumeNode), point_lps=point, values=values, nodule_id=name)


def _titled(analysis: Analysis, record: NoduleRecord) -> str:
    """A nodule's name for the status line; with its CT where another one is shown."""
    if analysis.shown or analysis.volumeNode is None:
        return record.name
    return f"{record.name} ({analysis.volumeNode.GetName()})"


def _inSlicersWords(error: MAEMCError, pointRas) -> MAEMCError:
    """An error of a point's place in Slicer's coordinates; the library speaks LPS, and of points that were typed."""
    if error.code != "point-outside":
        return error
    which = str(error).partition("The point")[0]  # of a further series, its name
    place = ", ".join(f"{axis} {round(value, 1) + 0.0:.1f}" for axis, value in zip("RAS", pointRas, strict=True))
    text = _("The point ({place} mm) lies outside the volume. Drag it to its place, or choose the CT it belongs to.")
    return InputError(which + text.format(place=place), error.code)


def _described(field) -> str:
    """How the panel asks for a field of a model; the library's own words would ask for a file."""
    if field.kind == SERIES:
        return _("{name} (a further series of this patient)").format(name=field.name)
    return field.described()


def isScored(record: NoduleRecord) -> bool:
    """Whether the record holds a probability that belongs to its fingerprint."""
    return record.result is not None and record.result["status"] == "scored"


def settle(analysis: Analysis, pointID: str, record: NoduleRecord, message: str) -> None:
    """Out of the worker's hands without an answer: back to the earlier result, or waiting for the reason given."""
    if isScored(record):
        setRecord(analysis, pointID, record, "scored")
    else:
        setRecord(analysis, pointID, record, "waiting", message, result=None)


def setRecord(
    analysis: Analysis, pointID: str, record: NoduleRecord, state: str, message: str = "", **changes
) -> NoduleRecord:
    """Keep a record in its new state, with further changes of its fields, and let the point's label say it; returns
    what it is now."""
    record = dataclasses.replace(record, state=state, message=message, **changes)
    analysis.setRecord(pointID, record)
    labels.writeLabel(analysis, pointID, record)
    return record
