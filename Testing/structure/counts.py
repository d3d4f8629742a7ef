"""``python -m Testing.structure.counts [REVISION]``: the size and the tangle of the house, read from its text.

REVISION   of git; the working tree without one
--json     all figures as JSON
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from .imports import import_graph
from .lines import SUFFIXES, Length, code_lines, file_length, function_lengths
from .tree import checkout, is_test, source_files

MOST_FUNCTION_LINES, MOST_FILE_LINES = 60, 400
KIND_QUESTIONS = {
    "flat": r"\bflat\b",
    "isinstance of Picture... or Nodule...": r"\bisinstance\((?:[^()]|\([^()]*\))*(?:Picture|Nodule)",
    "card.input, or fusion compared": r"\bcard\.input\b|\bfusion\s*(?:==|!=|(?:not )?in\b)",
    "view_share in": r"""["']view_share["']\s+(?:not )?in\b""",
}
"""Lines of the product's Python code that ask which kind of thing they hold, by regular expression; one line counts
once for each expression."""


def counts(root: Path) -> dict[str, Any]:
    """All figures of a tree: of its ``product`` and of its ``tests``."""
    files = source_files(root, *SUFFIXES)
    product = [file for file in files if not is_test(root, file)]
    return {
        "product": _sizes(root, product) | _tangle([file for file in product if file.suffix == ".py"]),
        "tests": _sizes(root, [file for file in files if is_test(root, file)]),
    }


def _sizes(root: Path, files: list[Path]) -> dict[str, Any]:
    code = {file: len(code_lines(file)) for file in files}
    folders: dict[str, dict[str, int]] = defaultdict(lambda: {"files": 0, "code_lines": 0})
    for file, lines in code.items():
        folder = folders[file.parent.relative_to(root).as_posix()]
        folder["files"] += 1
        folder["code_lines"] += lines
    python = [file for file in files if file.suffix == ".py"]
    functions = [length for file in python for length in function_lengths(root, file)]
    return {
        "files": len(files),
        "code_lines": sum(code.values()),
        "folders": dict(sorted(folders.items())),
        "functions": len(functions),
        **_longest("function", functions, MOST_FUNCTION_LINES),
        **_longest("file", [file_length(root, file) for file in python], MOST_FILE_LINES),
    }


def _longest(what: str, lengths: list[Length], most: int) -> dict[str, Any]:
    """The longest, and all that are too long; these are {path, with a function's name behind it: lines}."""
    long = sorted(lengths, reverse=True)
    return {
        f"longest_{what}": {one.place: one.lines for one in long[:1]},
        f"{what}s_over_{most}": {one.place: one.lines for one in long if one.lines > most},
    }


def _tangle(files: list[Path]) -> dict[str, Any]:
    graph = import_graph(files)
    lines = [line for file in files for line in code_lines(file)]
    return {
        "imports": sum(map(len, graph.imports.values())),
        "open_ended_imports": graph.open_ended,
        "circles": graph.circles(),
        "type_checking_imports": sum(map(len, graph.typing_only.values())),
        "circles_with_type_checking": graph.circles_with_typing(),
        "kind_questions": {
            name: sum(bool(re.search(pattern, line)) for line in lines) for name, pattern in KIND_QUESTIONS.items()
        },
    }


def _print(part: str, figures: dict[str, Any]) -> None:
    print(
        f"{part}: {figures['files']} files, {figures['code_lines']:,} lines of code, {figures['functions']} functions"
    )
    for folder, sizes in figures["folders"].items():
        print(f"    {folder:58}{sizes['files']:5}{sizes['code_lines']:8,}")
    for name, value in figures.items():
        if name.startswith(("longest", "functions_over", "files_over")):
            print(f"  {name}: {len(value)}")
            for place, lines in value.items():
                print(f"    {lines:5}  {place}")
        elif name.startswith("circles"):
            print(f"  {name}: {len(value)}")
            for circle in value:
                print(f"    {len(circle)} files: {', '.join(circle)}")
        elif name.endswith("imports"):
            print(f"  {name}: {value}")
    for name, lines in figures.get("kind_questions", {}).items():
        print(f"  lines that ask: {name:45}{lines:5}    {KIND_QUESTIONS[name]}")


def main() -> int:
    """Print the figures of one tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with checkout(options.revision) as root:
        figures = counts(root)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for part in figures:
            _print(part, figures[part])
    return 0


if __name__ == "__main__":
    sys.exit(main())
