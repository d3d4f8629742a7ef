"""The way of a nodule from its point through the worker to its record: when it is due, what is asked and answered."""

import dataclasses
import time
from pathlib import Path
from typing import Protocol

from MAEMCLib import scoring
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.values import SERIES
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.worker.protocol import decode_array, decode_prediction
from slicer.i18n import tr as _

from . import labels, nodes, overlays
from .analysis import PLANES, Analysis, NoduleRecord
from .clinicalvalues import clinicalInput, clinicalOf, seriesNames
from .following import SceneFollower
from .installing import inPanelWords
from .status import Status
from .volumes import ctVolume, lpsFromRas, sameInput
from .worker import Request, ScoringWorker

POLL_SECONDS = 0.03
"""A poll begins nothing new after this time; one step takes less than as much again."""


class QueueOwner(Protocol):
    """Who decides on model and device, and is told of results."""

    deviceRequest: str

    def chosenModel(self): ...

    def setStatus(self, status: Status) -> None: ...

    def onAnalysisChanged(self, analysis: Analysis) -> None: ...

    def onScored(self, analysis: Analysis, pointID: str) -> None: ...

    def onExplained(self, analysis: Analysis, pointID: str) -> None: ...


class ScoringQueue:
    """Nodules that wait for their time, or are with the worker. Nothing here waits; ``poll`` does what can be done."""

    def __init__(self, worker: ScoringWorker, follower: SceneFollower, owner: QueueOwner) -> None:
        self.device: dict = {}
        self._worker = worker
        self._follower = follower
        self._owner = owner
        self._due: dict = {}  # (analysis ID, control point ID) -> (monotonic time at which to score it, with pictures)

    def schedule(self, analysis: Analysis, pointID: str, delaySeconds: float = 0.0, pictures: bool = True) -> None:
        """Score a nodule after a while; asked again, the later time holds. What the worker had of it is void.

        pictures: whether reconstruction, error and attention are wanted as well; they take longer than the number.
        """
        self._worker.forget(analysis.id, pointID)
        self._due[(analysis.id, pointID)] = (time.monotonic() + delaySeconds, pictures)

    def forget(self, analysisID: str = "", pointID: str = "") -> None:
        """Drop one nodule, every nodule of an analysis, or all."""
        self._worker.forget(analysisID, pointID)
        for key in list(self._due):
            if analysisID in ("", key[0]) and pointID in ("", key[1]):
                del self._due[key]

    def isBusy(self, analysis: Analysis | None = None) -> bool:
        """Whether something is with the worker or waits its turn; of one analysis, where it is given."""
        return any(analysis is None or key[0] == analysis.id for key in {*self._worker.keys(), *self._due})

    def poll(self) -> None:
        """Bring in what the worker has answered and send what is due, for as long as a window may be kept waiting."""
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until and (answer := self._worker.take()) is not None:
            self._onAnswer(*answer)
        for key in [key for key, (due, _pictures) in self._due.items() if due <= time.monotonic()]:
            if time.monotonic() > until:
                return
            analysis = self._follower.analysis(key[0])
            if analysis is None:
                del self._due[key]
            elif not self._follower.isDragged(analysis):
                self._dispatch(analysis, key[1], self._due.pop(key)[1])
                self._owner.onAnalysisChanged(analysis)

    def stop(self) -> None:
        """End the worker at once: what was under way waits again, results that are there stay."""
        stopped = {*self._worker.keys(), *self._due}
        self._worker.cancel()
        self._due.clear()
        for analysisID in {key[0] for key in stopped}:
            analysis = self._follower.analysis(analysisID)
            for pointID, record in analysis.records() if analysis else []:
                if (analysisID, pointID) in stopped:
                    settle(analysis, pointID, record, _("Stopped."))
            if analysis:
                self._owner.onAnalysisChanged(analysis)

    def _dispatch(self, analysis: Analysis, pointID: str, pictures: bool) -> None:
        record = analysis.record(pointID)
        pointRas = analysis.pointRas(pointID)
        if record is None or pointRas is None:
            return
        try:
            model = self._owner.chosenModel()
        except MAEMCError as error:
            self._fail(analysis, pointID, self._lookedAt(analysis, pointID, record, ()), error, None)
            return
        asked = model.card.clinical
        record = self._lookedAt(analysis, pointID, record, seriesNames(asked))
        try:
            volume = ctVolume(analysis.volumeNode)
            given = clinicalInput(analysis.volumeNode, asked)
            case = Case("", "", volume, point_lps=lpsFromRas(pointRas), values=given, nodule_id=record.name)
            prepared = scoring.prepare(case, model.card)
            request = Request("predict", analysis.id, pointID, prepared, model, pictures)
            self._worker.send(request, self._owner.deviceRequest)
        except MAEMCError as error:
            if error.code == "clinical-missing":  # no failure: it waits for the user to fill them in
                self._wait(analysis, pointID, record, model)
            else:
                self._fail(analysis, pointID, record, _inSlicersWords(error, pointRas), model)
            return
        window = (model.card.preprocessing.window_lower, model.card.preprocessing.window_upper)
        setRecord(analysis, pointID, dataclasses.replace(record, window=window), "pending")
        self._owner.setStatus(Status("busy", _("Scoring {nodule} ...").format(nodule=_titled(analysis, record))))

    def _lookedAt(self, analysis: Analysis, pointID: str, record: NoduleRecord, series) -> NoduleRecord:
        """The record with the input as it is now, and without a result that was not of this input."""
        fingerprint = self._follower.lookAt(analysis, pointID, series)
        if fingerprint is None:
            return record
        if not sameInput(record.fingerprint, fingerprint):
            record = dataclasses.replace(record, result=None, explained=False, time="")
        return dataclasses.replace(record, fingerprint=fingerprint)

    def _onAnswer(self, request: Request, message: dict) -> None:
        if request.kind == "device":
            self._onDevice(message)
            return
        analysis = self._follower.analysis(request.analysisID)
        record = analysis.record(request.pointID) if analysis else None
        if record is None:
            return
        if message["kind"] == "error":
            text = inPanelWords(message["code"], message["message"])
            self._onError(analysis, request, record, MAEMCError(text, message["code"]))
        elif request.kind == "predict":
            self._onPrediction(analysis, request, record, message)
        else:
            kinds = ("reconstruction", "error", "attention")
            pictures = {
                plane: {kind: decode_array(message[kind][plane]) for kind in kinds if plane in message[kind]}
                for plane in PLANES
            }
            self._onPictures(analysis, request, record, pictures)
        self._owner.onAnalysisChanged(analysis)

    def _onPrediction(self, analysis: Analysis, request: Request, record: NoduleRecord, message: dict) -> None:
        prediction = decode_prediction(message["predictions"][0])
        result = scoring.scored(request.prepared, prediction, request.model.card)
        result = dataclasses.replace(result, nodule_id=record.name, image=analysis.volumeNode.GetName())
        record = dataclasses.replace(record, result=result.to_json(), explained=False, time=result.time)
        setRecord(analysis, request.pointID, record, "scored")
        nodes.showRoi(analysis, request.pointID, record)
        self.device = {**self.device, "name": result.device, "seconds": result.seconds}
        self._owner.setStatus(Status())
        self._owner.onScored(analysis, request.pointID)
        if request.pictures:
            self._worker.send(dataclasses.replace(request, kind="explain"), self._owner.deviceRequest)

    def _onPictures(self, analysis: Analysis, request: Request, record: NoduleRecord, pictures: dict) -> None:
        roi = request.prepared.region
        stacks = {plane: {**pictures[plane], "original": getattr(roi, plane)} for plane in PLANES}
        overlays.createOverlays(analysis, request.pointID, record, roi, stacks)
        analysis.setRecord(request.pointID, dataclasses.replace(record, explained=True))
        self._owner.onExplained(analysis, request.pointID)

    def _onError(self, analysis: Analysis, request: Request, record: NoduleRecord, error: MAEMCError) -> None:
        if request.kind == "predict":
            self._fail(analysis, request.pointID, record, error, request.model)
        elif error.code == "no-decoder":  # such a model has no reconstruction to show, which is no failure
            self._onPictures(analysis, request, record, {plane: {} for plane in PLANES})
        else:
            self._owner.setStatus(Status("error", f"{_titled(analysis, record)}: {error}", error.code))

    def _onDevice(self, message: dict) -> None:
        if message["kind"] == "error":
            text = inPanelWords(message["code"], message["message"])
            self._owner.setStatus(Status("error", text, message["code"]))
            return
        self.device = {**self.device, **message["device"]}
        if not self.isBusy():
            self._owner.setStatus(Status())

    def _wait(self, analysis: Analysis, pointID: str, record: NoduleRecord, model) -> None:
        given = clinicalOf(analysis.volumeNode, model.card.clinical)
        missing = [_described(one) for one in model.card.clinical if not one.optional and one.name not in given]
        message = _("The model also asks for {names}.").format(names=", ".join(missing))
        settle(analysis, pointID, record, message)
        self._owner.setStatus(Status("idle", message))

    def _fail(self, analysis: Analysis, pointID: str, record: NoduleRecord, error: MAEMCError, model) -> None:
        if isScored(record):  # scored again on request and without success: the earlier result is as true as it was
            setRecord(analysis, pointID, record, "scored")
        else:
            point = record.fingerprint["point_lps"] if record.fingerprint else None
            named = analysis.volumeNode.GetName() if analysis.volumeNode is not None else ""
            case = Case("", "", Path(named), point_lps=point, nodule_id=record.name)
            result = scoring.failed(case, error.hide(named), model.card if model else None)
            record = dataclasses.replace(record, result=result.to_json(), time=result.time)
            setRecord(analysis, pointID, record, "failed", str(error))
            nodes.removeNodesOf(analysis, pointID)
        self._owner.setStatus(Status("error", f"{_titled(analysis, record)}: {error}", error.code))


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
    place = ", ".join(f"{axis} {value:.1f}" for axis, value in zip("RAS", pointRas, strict=True))
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
        setRecord(analysis, pointID, dataclasses.replace(record, result=None), "waiting", message)


def setRecord(analysis: Analysis, pointID: str, record: NoduleRecord, state: str, message: str = "") -> None:
    """Keep a record in its new state, and let the point's label say it."""
    record = dataclasses.replace(record, state=state, message=message)
    analysis.setRecord(pointID, record)
    labels.writeLabel(analysis, pointID, record)
