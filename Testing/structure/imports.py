"""Who imports whom among our own files, and the circles in it.

An import counts wherever it stands: at the top of a file, inside a function, or as a string. Strings that count are
those that in whole name a module of ours ("package.module" or "package.module:attribute"), in tables too, and what is
given to ``import_module``, where an f-string stands for every module that it can name. An import of a file in another
package is also one of that package's ``__init__``, which Python runs first. What stands under ``if TYPE_CHECKING``
never runs: it is kept apart.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

Arrows = dict[str, set[str]]
_DOTTED = re.compile(r"(\.*)(\w+(?:\.\w+)*)(?::\w+)?")


@dataclass(frozen=True)
class ImportGraph:
    """Of each module the modules that it imports, by full dotted name; a package's name stands for its ``__init__``.

    imports: what runs. typing_only: what only a type checker reads. open_ended: the modules that give ``import_module``
    what their text does not tell; of these only the strings that name modules are known.
    """

    imports: Arrows
    typing_only: Arrows
    open_ended: list[str]

    def circles(self) -> list[list[str]]:
        """The largest sets of modules that all reach each other, each sorted; a module that imports itself is one."""
        return circles_of(self.imports)

    def circles_with_typing(self) -> list[list[str]]:
        """The same where type checkers' imports count too."""
        return circles_of({name: self.imports[name] | self.typing_only[name] for name in self.imports})


def import_graph(files: Iterable[Path]) -> ImportGraph:
    """Of those of the files that lie in packages."""
    modules = _modules(files)
    imports: Arrows = {name: set() for name in modules}
    typing_only: Arrows = {name: set() for name in modules}
    open_ended = []
    for name, file in modules.items():
        reader = _Reader(name, file.name == "__init__.py", modules)
        reader.visit(ast.parse(file.read_text(encoding="utf-8")))
        imports[name], typing_only[name] = reader.imports, reader.typing_only - reader.imports
        if reader.open_ended:
            open_ended.append(name)
    return ImportGraph(imports, typing_only, sorted(open_ended))


def _modules(files: Iterable[Path]) -> dict[str, Path]:
    """{full dotted name: file} of every file in a package."""
    modules = {}
    for file in files:
        parts, parent = [] if file.name == "__init__.py" else [file.stem], file.parent
        while (parent / "__init__.py").is_file():
            parts.insert(0, parent.name)
            parent = parent.parent
        if parent != file.parent:
            modules[".".join(parts)] = file
    return modules


class _Reader(ast.NodeVisitor):
    """Collects what one module imports."""

    def __init__(self, name: str, is_package: bool, modules: dict[str, Path]) -> None:
        self.name, self.modules = name, modules
        self.package = name if is_package else name.rpartition(".")[0]
        self.imports: set[str] = set()
        self.typing_only: set[str] = set()
        self.open_ended = False
        self._found = self.imports

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)
            return
        self._found = self.typing_only
        for child in node.body:
            self.visit(child)
        self._found = self.imports
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = self._absolute("." * node.level, node.module or "")
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            self._add(inner if inner in self.modules else module)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("import_module", "__import__") and node.args:
            pattern = self._pattern(node.args[0])
            self.open_ended |= pattern is None
            for module in self.modules:
                if pattern and module != self.name and re.fullmatch(pattern, module):
                    self._add(module)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        match = _DOTTED.fullmatch(node.value) if isinstance(node.value, str) else None
        # A bare package's name is a word like any other, and a suffix like ".nrrd" looks like a relative import.
        if match and not match[1] and "." in match[2]:
            self._add(match[2])

    def _pattern(self, argument: ast.expr) -> str | None:
        """The regular expression of the modules that an argument of ``import_module`` can name; None: any at all."""
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            match = _DOTTED.fullmatch(argument.value)
            return re.escape(self._absolute(match[1], match[2])) if match else None
        if not isinstance(argument, ast.JoinedStr):
            return None
        parts = []
        for part in argument.values:
            if isinstance(part, ast.Constant):
                parts.append(re.escape(part.value))
            else:
                known = {"__package__": self.package, "__name__": self.name}.get(ast.unparse(part.value))
                parts.append(re.escape(known) if known else r"\w+(?:\.\w+)*")
        pattern = "".join(parts)
        return re.escape(self.package) + pattern if pattern.startswith(r"\.") else pattern

    def _absolute(self, dots: str, name: str) -> str:
        if not dots:
            return name
        package = self.package.split(".")
        return ".".join([*package[: len(package) - len(dots) + 1], *filter(None, [name])])

    def _add(self, name: str) -> None:
        """An arrow to a module, if it is ours, and to the packages around it that are not around this one too."""
        if name not in self.modules:
            return
        self._found.add(name)
        package = name.rpartition(".")[0]
        while package and not f"{self.name}.".startswith(f"{package}."):
            self._found.add(package)
            package = package.rpartition(".")[0]


def circles_of(arrows: Arrows) -> list[list[str]]:
    """Strongly connected sets of more than one module, or of one that points to itself."""
    reached = {name: _reachable(arrows, name) for name in arrows}
    circles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in arrows
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(circles)]


def _reachable(arrows: Arrows, start: str) -> set[str]:
    seen, open_ends = set(), list(arrows[start])
    while open_ends:
        name = open_ends.pop()
        if name not in seen:
            seen.add(name)
            open_ends += arrows[name]
    return seen
