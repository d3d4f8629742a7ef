"""Lines of code: those that hold anything but blanks, comments and docstrings; and how long functions and files are."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".py", ".toml", ".j2", ".html", ".css")
"""What is counted as code: Python, settings and templates. What moves from Python into a template stays counted."""
_EMPTY = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


@dataclass(frozen=True, order=True)
class Length:
    """How many lines something has, and where it is: a path below the root, for a function with its qualified name."""

    lines: int
    place: str


def code_lines(file: Path) -> list[str]:
    """The lines of code of a file, as they are written.

    A docstring is any statement that is a string alone: those of modules, classes and functions, and those that stand
    after a constant. A comment behind code is cut off.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return _python_lines(text)
    if file.suffix == ".toml":
        return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    without = re.sub(r"\{#.*?#\}|<!--.*?-->|/\*.*?\*/", "", text, flags=re.DOTALL)
    return [line for line in without.splitlines() if line.strip()]


def _python_lines(text: str) -> list[str]:
    docstrings = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    lines, held = text.splitlines(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
        if token.type not in _EMPTY:
            held.update(range(token.start[0], token.end[0] + 1))
    return [lines[number - 1] for number in sorted(held - docstrings)]


def file_length(root: Path, file: Path) -> Length:
    """All lines of a file, blank ones and docstrings too."""
    return Length(len(file.read_text(encoding="utf-8").splitlines()), file.relative_to(root).as_posix())


def function_lengths(root: Path, file: Path) -> list[Length]:
    """All lines of each function, from its ``def`` to its end, docstring and inner functions included."""
    place = file.relative_to(root).as_posix()
    found = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    found.append(Length(child.end_lineno - child.lineno + 1, f"{place}:{name}"))
                visit(child, f"{name}.")
            else:
                visit(child, prefix)

    visit(ast.parse(file.read_text(encoding="utf-8")), "")
    return found
