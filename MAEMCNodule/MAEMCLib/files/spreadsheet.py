"""CSV as a spreadsheet opens it: a text that it would take for a formula is written so that it stays a text."""

import csv
import re
from collections.abc import Collection, Iterable
from typing import TextIO

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # the full-width forms count in Japanese and Chinese spreadsheets
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def cell(text: str) -> str:
    """A text as it is written: with an apostrophe before what a spreadsheet would compute; numbers stay numbers.

    ``text_of`` is the inverse.
    """
    starts = text.lstrip("'").startswith(_FORMULA)
    return f"'{text}" if starts and not _NUMBER.fullmatch(text) else text


def text_of(cell: str) -> str:
    """The text that ``cell`` wrote; what it would not have written is taken as it is."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def read_table(stream: TextIO, numbers: Collection[str]) -> tuple[list[str], list[tuple[int, list[str] | csv.Error]]]:
    """The columns of a table that somebody made, and each row that is not empty by its number (the header is row 1):
    its values, or what is wrong with its quotes. The stream was opened with ``newline=""``.

    Spreadsheets of countries with decimal commas write semicolons or tabs between the values, and some a first line
    ``sep=;``: these are taken too, with commas in the columns ``numbers``. Raises csv.Error for a damaged header.
    """
    start, first = 0, stream.readline()
    if first.strip().lower().startswith("sep="):
        start, first = stream.tell(), stream.readline()
    separator = max(",;\t", key=first.count)
    stream.seek(start)
    reader = csv.reader(stream, strict=True, delimiter=separator)
    columns = [name.strip() for name in next(reader, [])]
    decimals = {place for place, name in enumerate(columns) if name in numbers and separator != ","}
    rows: list[tuple[int, list[str] | csv.Error]] = []
    number = 1
    while True:
        number += 1
        try:
            values = [text_of(value) for value in next(reader)]
        except StopIteration:
            return columns, rows
        except csv.Error as error:  # a quote that does not end would swallow the rows after it unseen
            rows.append((number, error))
            continue
        if any(value.strip() for value in values):
            rows.append((number, [v.replace(",", ".") if place in decimals else v for place, v in enumerate(values)]))


class RowWriter:
    """Writes rows of texts as CSV to a text stream that was opened with ``newline=""``, each one a line ending in LF;
    a text with line breaks of any kind is quoted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Python before 3.13 quotes those line breaks only that end its own lines.
        self._writer = csv.writer(self, lineterminator="\r\n")

    def write(self, line: str) -> None:
        """What ``csv`` calls with each line."""
        self._stream.write(line.removesuffix("\r\n") + "\n")

    def row(self, texts: Iterable[object]) -> None:
        """Write one row; a None is an empty cell."""
        self._writer.writerow([cell(text) if isinstance(text, str) else text for text in texts])

    def rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write many."""
        for texts in rows:
            self.row(texts)


def records(stream: TextIO) -> list[dict[str, str]]:
    """The rows that a ``RowWriter`` wrote below a header, by column; the stream was opened with ``newline=""``.

    Raises csv.Error, and ValueError for a row with another number of values than the header has.
    """
    reader = csv.reader(stream)
    header = [text_of(name) for name in next(reader, [])]
    return [dict(zip(header, map(text_of, values), strict=True)) for values in reader if values]
