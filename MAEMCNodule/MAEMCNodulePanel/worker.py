"""The panel's end of the worker: which request belongs to which nodule."""

import dataclasses
from collections import deque

from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.protocol import encode_case

from .interpreter import slicerPython


@dataclasses.dataclass
class Request:
    """What was asked of the worker: kind is "device", "predict" or "explain"; the rest says for which nodule.

    pictures: whether a prediction is to be followed by an explanation.
    """

    kind: str
    analysisID: str = ""
    pointID: str = ""
    prepared: object = None
    model: object = None
    pictures: bool = True

    @property
    def key(self) -> tuple:
        return (self.analysisID, self.pointID)


class ScoringWorker:
    """Sends regions to the worker process and hands back its answers with the request they belong to.

    Never blocks. python: the program to start; found in Slicer when it is first needed, unless given.
    """

    def __init__(self, python: str | None = None) -> None:
        self._python = python
        self._client = None
        self._requests: dict = {}
        self._inbox: deque = deque()
        self.sent = 0

    def keys(self) -> list:
        """(analysis ID, control point ID) of each request under way; two empty strings for the device request."""
        return [request.key for request in self._requests.values()]

    @property
    def pid(self):
        """Process id of the running worker, or None."""
        return None if self._client is None else self._client.pid

    @property
    def silentSeconds(self) -> float:
        """Seconds since the worker's last message while it has something to do, else 0."""
        return 0.0 if self._client is None else self._client.silent_seconds

    @property
    def lastWords(self) -> list:
        """The worker's latest log lines, for a report."""
        return [] if self._client is None else list(self._client.log)

    def askDevice(self, device: str) -> None:
        """Start the worker if need be and ask what it computes on. Raises MAEMCError where it cannot be started."""
        self._send(Request("device"), device=device)

    def send(self, request: Request, device: str) -> None:
        """Ask for probability or pictures of one prepared nodule. Raises MAEMCError where no Python is found."""
        self.forget(*request.key)
        nodule = encode_case(request.prepared, request.model.card.kind)
        self._send(request, model=str(request.model.path), device=device, nodules=[nodule])

    def forget(self, analysisID: str = "", pointID: str = "") -> None:
        """Take no notice of answers about one nodule, every nodule of an analysis, or any nodule at all."""
        for number, request in list(self._requests.items()):
            ofNodule = analysisID in ("", request.analysisID) and pointID in ("", request.pointID)
            if ofNodule and request.kind != "device":
                del self._requests[number]

    def take(self):
        """The next answer, (Request, message) with a result or an error, or None where there is none yet.

        One at a time, so that whoever takes them can stop when the window needs its turn.
        """
        if self._client is None:
            return None
        if not self._inbox:
            self._inbox.extend(self._client.poll())
        while self._inbox:
            message = self._inbox.popleft()
            if message["kind"] in ("result", "error") and message.get("id") in self._requests:
                return self._requests.pop(message["id"]), message
        return None

    def cancel(self) -> None:
        """Stop at once: what was asked will not be answered. The next request starts a new process."""
        self._requests.clear()
        self._inbox.clear()
        if self._client is not None:
            self._client.cancel()

    def stop(self) -> None:
        """End the worker process for good."""
        self._requests.clear()
        self._inbox.clear()
        if self._client is not None:
            self._client.stop()
            self._client = None

    def _send(self, request: Request, **fields) -> None:
        if self._client is None:
            self._client = WorkerClient(python=self._python or slicerPython())
        self._requests[self._client.send(request.kind, **fields)] = request
        self.sent += 1
