"""Sizes and gates follow the outline: the network's is a segment that can be edited, and any segment at the point may
take its place (see ``outlines``)."""

import dataclasses
import time

from MAEMCLib.applicability import Limits
from MAEMCLib.errors import MAEMCError, ModelError
from MAEMCLib.measures.field import field_about
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measured import MeasuredNodule
from MAEMCLib.measures.rejudged import rejudged
from MAEMCLib.results import NoduleResult

from . import nodes, segments
from .analysis import Analysis
from .modelchoice import modelBehind
from .outlines import DrawnOutline, outlineOf
from .parameters import parameterNode
from .reviewstate import resultOf
from .sceneobserver import SceneObserver
from .scoringqueue import ScoringQueue, isScored
from .status import Status, StatusLine
from .volumes import ctVolume, lpsFromRas

DEBOUNCE_SECONDS = 0.3
"""An edited outline is measured this long after the last stroke."""


class Measuring:
    """Writes the network's outlines into the scene, and measures and judges again where a reader has drawn, edited or
    removed one."""

    def __init__(self, observer: SceneObserver, queue: ScoringQueue, statusLine: StatusLine) -> None:
        self._observer, self._statusLine = observer, statusLine
        self._due: dict = {}  # (analysis ID, point ID) -> monotonic time at which to measure
        self._times: dict = {}  # segmentation node's ID -> ``segmentTimes`` when last looked at
        queue.outlined.connect(self._onOutlined)
        observer.segmentationChanged.connect(self._onSegmentationChanged)
        observer.pointRemoved.connect(self._onPointRemoved)
        observer.sceneClosing.connect(self._forget)

    def isBusy(self) -> bool:
        """Whether something waits to be measured."""
        return bool(self._due)

    def poll(self) -> None:
        """Measure one nodule that is due: one a poll, so that no window waits for several."""
        key = next((key for key, due in self._due.items() if due <= time.monotonic()), None)
        if key is not None:
            del self._due[key]
            analysis = self._observer.analysis(key[0])
            if analysis is not None and analysis.record(key[1]) is not None:
                self._measure(analysis, key[1])

    def taken(self, analysis: Analysis, pointID: str):
        """What brings the network's outline of a nodule back when its point comes back: a function of the new ID."""
        outline, record = outlineOf(analysis, pointID), analysis.record(pointID)
        if outline is None or not outline.network:
            return lambda newID: None
        madeBy = f"{outline.algorithm}|{outline.version}"
        return lambda newID: self._write(analysis, newID, record.name, outline.mask, madeBy)

    def _onOutlined(self, analysis: Analysis, pointID: str, mask: NoduleMask | None, madeBy: str) -> None:
        outline = outlineOf(analysis, pointID)
        if outline is not None and not outline.network:  # the reader's: its numbers take the place of the network's
            self._schedule(analysis, pointID)
        elif mask is not None:
            self._write(analysis, pointID, analysis.record(pointID).name, mask, madeBy)
        else:
            self._onPointRemoved(analysis, pointID)

    def _write(self, analysis: Analysis, pointID: str, name: str, mask: NoduleMask, madeBy: str) -> None:
        with self._observer.resting():
            segments.writeOutline(analysis, pointID, name, mask, madeBy)
        self._look(analysis.outlines)

    def _onPointRemoved(self, analysis: Analysis, pointID: str) -> None:
        self._due.pop((analysis.id, pointID), None)
        if analysis.outlines is not None:
            with self._observer.resting():
                segments.removeOutline(analysis, pointID)
            self._look(analysis.outlines)

    def _onSegmentationChanged(self, analysis: Analysis, node) -> None:
        before, now = (None, {}) if node is None else (self._times.get(node.GetID(), {}), self._look(node))
        if before != now:
            for pointID, record in analysis.records():
                if isScored(record):
                    self._schedule(analysis, pointID)

    def _look(self, node) -> dict:
        self._times[node.GetID()] = segments.segmentTimes(node)
        return self._times[node.GetID()]

    def _schedule(self, analysis: Analysis, pointID: str) -> None:
        self._due[(analysis.id, pointID)] = time.monotonic() + DEBOUNCE_SECONDS
        self._statusLine.changed.emit()

    def _measure(self, analysis: Analysis, pointID: str) -> None:
        record = analysis.record(pointID)
        if not isScored(record) or analysis.volumeNode is None:
            return
        outline = outlineOf(analysis, pointID)
        if outline is not None and outline.network:
            segments.leaveToReader(analysis, pointID, outline.mask)
            outline = outlineOf(analysis, pointID)  # it may be the reader's now
        try:
            judged = _judged(analysis, pointID, record, outline)
        except MAEMCError as error:
            self._statusLine.set(Status("error", f"{record.name}: {error}", error.code))
            judged = _judged(analysis, pointID, record, None)
        result = {**record.result, **judged.to_json()}
        if result != record.result:
            record = dataclasses.replace(record, result=result)
            analysis.setRecord(pointID, record)
            nodes.showRoi(analysis, pointID, record)
            self._observer.analysisChanged.emit(analysis)

    def _forget(self) -> None:
        self._due.clear()
        self._times.clear()


def _judged(analysis: Analysis, pointID: str, record, outline: DrawnOutline | None) -> NoduleResult:
    """A nodule's row with what its outline says now. Raises InputError where the CT or the outline cannot be read."""
    volume, nodule = ctVolume(analysis.volumeNode), None
    byReader = outline is not None and not outline.network
    if outline is not None:
        nodule = MeasuredNodule.of(volume, outline.mask, outline.network)
    around = field_about(volume, lpsFromRas(analysis.pointRas(pointID))).around
    return rejudged(resultOf(record), nodule, byReader, around, _limitsBehind(record))


def _limitsBehind(record) -> Limits | None:
    """Of the model that a result is from; None where it is not here any more."""
    try:
        return modelBehind(record.result, parameterNode().model).card.limits
    except ModelError:
        return None
