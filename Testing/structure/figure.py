"""Draws docs/architecture.svg: the chapters of the four packages, each above those that it imports.

``python -m Testing.structure.figure [FILE]``. A chapter is a folder of a package, or a file beside the folders. An
arrow says that one imports the other; arrows that follow from others are left out.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

from .imports import Arrows, circles_of, import_graph
from .tree import REPOSITORY, is_test, source_files

PACKAGES = {
    "MAEMCNodulePanel": "panel in Slicer: score",
    "MAEMCTrainingPanel": "panel in Slicer: train",
    "MAEMCLib": "the library of scoring",
    "MAEMCTrainingLib": "the library of training",
}
COLORS = {
    "MAEMCNodulePanel": "#cfe3f6",
    "MAEMCTrainingPanel": "#fbe2c4",
    "MAEMCLib": "#e6f0fa",
    "MAEMCTrainingLib": "#fdf1e0",
}
WIDTH, HEIGHT, GAP = 1.0, 0.42, 0.18


def chapters(root: Path) -> tuple[Arrows, dict[str, int]]:
    """Which chapter imports which, and the number of files in each. A panel is one chapter."""
    graph = import_graph(file for file in source_files(root, ".py") if not is_test(root, file)).imports
    arrows: Arrows = defaultdict(set)
    files: dict[str, int] = defaultdict(int)
    for module, targets in graph.items():
        if module.split(".")[0] not in PACKAGES:
            continue
        own = _chapter(module)
        files[own] += 1
        arrows[own] |= {_chapter(target) for target in targets} - {own}
    roots = set(PACKAGES) - {"MAEMCNodulePanel", "MAEMCTrainingPanel"}  # a library's bare name holds its version only
    return {name: found - roots for name, found in arrows.items() if name not in roots}, files


def _chapter(module: str) -> str:
    package, _, rest = module.partition(".")
    return package if package.endswith("Panel") or not rest else f"{package}.{rest.split('.')[0]}"


def floors(arrows: Arrows) -> dict[str, int]:
    """0 for what imports nothing; else one more than the highest that it imports. Chapters in a circle share one."""
    circles = {name: frozenset(circle) for circle in circles_of(arrows) for name in circle}
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            together = circles.get(name, frozenset([name]))
            below = set().union(*(arrows[member] for member in together)) - together
            height = 1 + max((floor(other) for other in sorted(below)), default=-1)
            found.update(dict.fromkeys(together, height))
        return found[name]

    for name in sorted(arrows):
        floor(name)
    return found


def without_shortcuts(arrows: Arrows) -> Arrows:
    """The arrows that do not follow from others."""

    def reached(name: str, seen: set[str]) -> set[str]:
        for other in arrows[name] - seen:
            seen.add(other)
            reached(other, seen)
        return seen

    below = {name: reached(name, set()) for name in arrows}
    return {
        name: {one for one in found if not any(one in below[other] for other in found - {one})}
        for name, found in arrows.items()
    }


def draw(root: Path, output: Path) -> None:
    """Write the figure."""
    arrows, files = chapters(root)
    height = floors(arrows)
    rows: dict[tuple[bool, int], list[str]] = defaultdict(list)
    for name in sorted(arrows):
        rows["Training" in name, height[name]].append(name)
    widest = {side: max(len(names) for (own, _), names in rows.items() if own == side) for side in (False, True)}
    start = {False: 0.0, True: widest[False] * (WIDTH + GAP) + 0.8}
    place = {}
    for (side, floor), names in rows.items():
        shift = start[side] + (widest[side] - len(names)) * (WIDTH + GAP) / 2
        for number, name in enumerate(names):
            place[name] = (shift + number * (WIDTH + GAP), floor * (HEIGHT + 0.45))
    tall, wide = max(height.values()) + 1, start[True] + widest[True] * (WIDTH + GAP)
    figure, axes = plt.subplots(figsize=(wide * 1.15, tall * 0.72))
    for name, found in without_shortcuts(arrows).items():
        for other in found:
            (x0, y0), (x1, y1) = place[name], place[other]
            axes.annotate(
                "",
                (x1 + WIDTH / 2, y1 + HEIGHT),
                (x0 + WIDTH / 2, y0),
                arrowprops={"arrowstyle": "-|>", "color": "#8a8f98", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
                zorder=1,
            )
    for name, (x, y) in place.items():
        package, _, chapter = name.partition(".")
        box = FancyBboxPatch((x, y), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.06", fc=COLORS[package], ec="#4a5568")
        axes.add_patch(box)
        title = chapter or package.removeprefix("MAEMC")
        size = 8 if len(title) < 14 else 6.5
        axes.text(x + WIDTH / 2, y + HEIGHT * 0.62, title, ha="center", va="center", fontsize=size)
        count = f"{files[name]} file{'s' if files[name] > 1 else ''}"
        axes.text(x + WIDTH / 2, y + HEIGHT * 0.25, count, ha="center", va="center", fontsize=6, color="#4a5568")
    for side, text in ((False, "MAEMCNodule: MAEMCLib and its panel"), (True, "MAEMCTraining: MAEMCTrainingLib")):
        middle = start[side] + widest[side] * (WIDTH + GAP) / 2
        axes.text(middle, tall * (HEIGHT + 0.45), text, ha="center", fontsize=11, weight="bold")
    axes.set(xlim=(-0.1, wide), ylim=(-0.1, tall * (HEIGHT + 0.45) + 0.3))
    axes.axis("off")
    matplotlib.rcParams["svg.hashsalt"] = "maemc"  # the same tree gives the same file
    figure.savefig(output, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    draw(REPOSITORY, Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "architecture.svg")
