"""The tiny inputs of all trainings, made once and read by both revisions: CTs with nodules, and pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .tree import Tree

CASES = 12
PICTURES = 24


def make_inputs(folder: Path, tree: Tree) -> None:
    """Write ``folder``/nodules/manifest.csv (phantoms of ``tree``'s revision) and ``folder``/pictures.csv."""
    nodules = folder / "nodules" / "manifest.csv"
    tree.run("phantom", "--output", str(nodules.parent), "--cases", str(CASES), "--seed", "7", "--processes", "1")
    _extend(nodules, _values_of_nodule)
    _write_pictures(folder / "pictures")
    pictures = folder / "pictures.csv"
    tree.run("import", "images", str(folder / "pictures"), "--classes", "benign,malignant", "--output", str(pictures))
    _extend(pictures, _metadata_of_picture)


def _extend(manifest: Path, columns: Callable[[int, dict[str, str]], dict[str, str]]) -> None:
    """Give a manifest further columns: ``columns(number of the row, row)``."""
    with open(manifest, newline="", encoding="utf-8") as stream:
        rows = [row | columns(number, row) for number, row in enumerate(csv.DictReader(stream))]
    with open(manifest, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _values_of_nodule(number: int, row: dict[str, str]) -> dict[str, str]:
    """A target of three classes, a number and a choice, one of them unknown at times, and a series that some have."""
    return {
        "subtype": ("solid", "part-solid", "ground-glass")[number % 3],
        "age": "" if number == 3 else f"{50 + 3 * number}.5",
        "sex": ("female", "male")[number // 2 % 2],
        "image_2": row["image"] if number % 4 else "",
        "anatomy": ("CHEST", "ABDOMEN")[number % 2],
    }


def _metadata_of_picture(number: int, row: dict[str, str]) -> dict[str, str]:
    return {"modality": ("US", "CT", "MR")[number % 3], "anatomy": ("BREAST", "CHEST;LUNG")[number // 2 % 2]}


def _write_pictures(folder: Path) -> None:
    """``folder``/CLASS/PATIENT/view.png: noise and a disk, small where benign and large where malignant."""
    draws = np.random.default_rng(1)
    for number in range(PICTURES):
        label = number % 2
        place = folder / ("malignant" if label else "benign") / f"patient {number}"
        place.mkdir(parents=True)
        middle = np.array([20, 26]) + draws.integers(-3, 4, 2)
        y, x = np.mgrid[:40, :52] - middle[:, None, None]
        gray = draws.normal(60, 10, (40, 52)) + 150 * (np.hypot(x, y) < (11 if label else 4))
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(place / "view.png")
