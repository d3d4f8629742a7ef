"""The results file of a batch: sound rows of an earlier run are taken up, new ones are safe on the disk one by one."""

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ..errors import InputError, UsageError
from ..files.atomic import make_folder
from ..files.regular_file import open_regular
from ..files.spreadsheet import RowWriter, text_of
from ..models.card import ModelCard
from ..report.scores import write_csv
from ..results import COLUMNS

Row = dict[str, str]
_SHA256 = re.compile("[0-9a-f]{64}")


class ResultsFile:
    """One CSV file with COLUMNS. Raises InputError wherever it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: TextIO | None = None

    def scored_rows(self, card: ModelCard) -> list[Row]:
        """The rows of an earlier run that are whole and scored; of what a crash or an editor has damaged, nothing.

        Raises UsageError for a file that is something else, of another version or another model: it is left alone;
        InputError for one that cannot be read.
        """
        if not self.path.exists():
            return []
        try:
            with open_regular(self.path) as stream:  # a device such as /dev/full has no end
                data = stream.read()
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror}). Choose another output.") from error
        text = data.decode("utf-8-sig", "surrogateescape")
        header, records = _records(text)
        if header is None:
            return []
        if header != COLUMNS:
            what = "is not a results file"
            if header[:3] == COLUMNS[:3] and "model_sha256" in header:
                what = "holds results of another version of MAEMC, which do not say what they were computed from"
            raise UsageError(f"{self.path} {what}. Choose another output; nothing was changed.")
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in records if len(values) == len(COLUMNS)]
        rows = [row for row in rows if _is_sound(row)]
        if any(row["model_sha256"] != card.sha256 for row in rows):
            raise UsageError(f"{self.path} holds results of another model. Choose another output; nothing was changed.")
        return rows

    def begin(self, rows: Iterable[Row]) -> None:
        """Replace the file by these rows; ``add`` goes on after them."""
        make_folder(self.path.parent)
        write_csv(self.path, rows)
        with self._writing():
            self._stream = self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="")

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows at the end, so that they are there whatever happens next."""
        with self._writing():
            RowWriter(self._stream).rows([row[column] for column in COLUMNS] for row in rows)
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def end(self, rows: Iterable[Row]) -> None:
        """Put all rows into their order."""
        self.close()
        write_csv(self.path, rows)

    def close(self) -> None:
        """Let go of the file, as it is."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with self._writing():
                stream.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = f"{self.path} cannot be written ({error.strerror}). Choose a folder that can be written."
            raise InputError(text) from error


def _records(text: str) -> tuple[tuple[str, ...] | None, list[list[str]]]:
    """(header, rows of texts); no header of an empty file, or one that was cut within its first line."""
    if not text.strip() or ",".join(COLUMNS).startswith(text):
        return None, []
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # a quote that a damage has opened: what comes after it is done again
        rows.extend([text_of(value) for value in values] for values in reader)
    if not text.endswith("\n"):
        rows[1:] = rows[1:-1]  # the last line was cut
    return tuple(rows[0]) if rows else (), rows[1:]


def _is_sound(row: Row) -> bool:
    try:
        probability = float(row["probability"])
    except ValueError:
        return False
    return (
        row["status"] == "scored"
        and 0 <= probability <= 1
        and all(_SHA256.fullmatch(row[column]) for column in ("model_sha256", "input_sha256"))
        and not any("\udc80" <= letter <= "\udcff" for value in row.values() for letter in value)
    )
