"""The worker as its owner sees it: a child process with a warm model, one JSON object a line each way.

Free of torch and Qt. Slicer's process holds a ``WorkerClient``; the other end is ``server``, and ``protocol`` is
what they say to each other.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import MAEMCError
from ..machine.child_processes import end_group, library_environment, start_group


@dataclass
class _Pending:
    line: bytes
    tag: object
    attempts: int = 1


class WorkerClient:
    """Owns one worker process: starts it when first asked, restarts it when it died, sends its requests again once.

    python: the interpreter that has torch (in Slicer: PythonSlicer), or what finds it when it is needed, which may
    raise MAEMCError. sent: how many requests there have been.
    No method blocks; results come through ``poll``, which an owner calls from a timer or a loop.
    """

    def __init__(self, python: str | Callable[[], str] = sys.executable) -> None:
        self._python = python
        self._process: subprocess.Popen | None = None
        self.sent = 0
        self._pending: dict[int, _Pending] = {}
        self._messages: queue.SimpleQueue[dict] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._heard = 0.0  # when the worker last answered, or was sent a request while it was idle
        self.log: deque[str] = deque(maxlen=200)  # the worker's last words, for a report

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.alive else None

    @property
    def busy(self) -> bool:
        """True while a request waits for its result."""
        return bool(self._pending)

    @property
    def silent_seconds(self) -> float:
        """While busy, the seconds since the worker's last message; otherwise 0.0. Loading a large model from a slow
        disk takes many; minutes mean that the process is stopped or its driver is stuck, which ``cancel`` ends."""
        return time.monotonic() - self._heard if self._pending else 0.0

    def send(self, request: str, tag: object = None, **fields: object) -> int:
        """Queue a request; its number and its tag, which stays here, come back with every message about it."""
        self.sent += 1
        number = self.sent
        if not self._pending:
            self._heard = time.monotonic()
        line = json.dumps({"id": number, "request": request, **fields}, allow_nan=False).encode() + b"\n"
        self._pending[number] = _Pending(line, tag)
        if self.alive:
            self._outbox.put(line)
        else:
            self._start()
        return number

    def poll(self) -> list[dict]:
        """Messages since the last call: {"id", "tag", "kind": "progress" | "result" | "error", ...}.

        Notices a dead worker.
        """
        dead = self._process is not None and not self.alive and not self._reader.is_alive()
        messages = []
        while not self._messages.empty():
            message = self._messages.get()
            number = message.get("id")
            pending = self._pending.get(number) if isinstance(number, int) else None
            if message.get("kind") in ("result", "error"):
                if pending is None:
                    continue  # of a request that was canceled, or of one that never was
                del self._pending[number]
            messages.append({**message, "tag": pending.tag if pending else None})
        if dead:
            code = self._process.returncode
            self._process = None
            messages += self._give_up(code)
            if self._pending:
                self._start()
        return messages

    def cancel(self) -> None:
        """Stop at once what is running; an idle worker stays."""
        if self._pending:
            self.stop()

    def stop(self) -> None:
        """End the worker and forget everything."""
        self._pending.clear()
        process, self._process = self._process, None
        self._outbox.put(None)
        if process is None:
            return
        end_group(process)
        process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _give_up(self, code: int) -> list[dict]:
        """Errors for the requests on which the worker has died twice; the others get their second attempt."""
        errors = []
        for number, pending in list(self._pending.items()):
            pending.attempts += 1
            if pending.attempts > 2:
                del self._pending[number]
                last = next((line for line in reversed(self.log) if line.strip()), "it said nothing")
                text = f"The scoring process ended twice (code {code}; last words: {last}). See 'maemc device'."
                errors.append(_error(number, "worker-died", text) | {"tag": pending.tag})
        return errors

    def _start(self) -> None:
        try:
            python = self._python if isinstance(self._python, str) else self._python()
            process = start_group(
                [python, "-m", "MAEMCLib", "serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**library_environment(), "PYTHONUNBUFFERED": "1"},
            )
        except (OSError, MAEMCError) as error:
            text, code = str(error), getattr(error, "code", "worker-start")
            if isinstance(error, OSError):
                text = f"The scoring process cannot be started with {python} ({error}). Check the Python setting."
            for number in self._pending:
                self._messages.put(_error(number, code, text))
            return
        self._process, self._heard = process, time.monotonic()
        self._outbox = queue.SimpleQueue()
        for pending in self._pending.values():
            self._outbox.put(pending.line)
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, args=(process, self._outbox), daemon=True).start()
        threading.Thread(target=self._read_log, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self._heard = time.monotonic()
            try:
                message = json.loads(line)
                if not isinstance(message, dict):
                    raise ValueError("no object")
                self._messages.put(message)
            except (ValueError, RecursionError):
                self.log.append(f"not understood: {line[:200]!r}")

    def _write(self, process: subprocess.Popen, outbox: queue.SimpleQueue) -> None:
        with contextlib.suppress(OSError, ValueError):  # a dead worker: poll notices it
            while (line := outbox.get()) is not None:
                process.stdin.write(line)
                process.stdin.flush()

    def _read_log(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            self.log.append(line.decode("utf-8", "replace").rstrip())


def _error(number: int, code: str, text: str) -> dict:
    return {"id": number, "kind": "error", "code": code, "message": text}
