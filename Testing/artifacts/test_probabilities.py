"""The probabilities of real nodules are those of b0d64cb, to 1e-6: see ``probabilities.py``."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import probabilities  # noqa: E402

KNOWN = json.loads((HERE / "probabilities.json").read_text(encoding="utf-8"))


def agree(name: str, found: dict, cases: int) -> None:
    known = KNOWN[name]
    assert len(found) == cases and set(found) <= set(known)
    differences = {case: np.abs(np.subtract(found[case], known[case])).max() for case in found}
    worst = max(differences, key=differences.get)
    assert round(differences[worst], 9) <= 1e-6, f"{worst}: {found[worst]} instead of {known[worst]}"


def test_known_probabilities_tell_the_cases_apart():
    for table in KNOWN.values():
        assert np.std([values[0] for values in table.values()]) > 0.01


def test_cubes_by_the_model_that_was_shipped_before(lidc_cubes):
    found = probabilities.of_cubes(lidc_cubes, "--model", str(probabilities.BEFORE), **probabilities.BY_BEFORE)
    agree("cubes", found, 10)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_cubes_by_the_shipped_model(lidc_cubes, every):
    agree("cubes, shipped", probabilities.of_cubes(lidc_cubes, every=every), 90 // every)


def test_cubes_with_clinical_values_by_a_fused_model(lidc_cubes):
    agree("cubes with values", probabilities.of_cubes_with_values(lidc_cubes), len(KNOWN["cubes with values"]))


def test_slices_by_a_model_of_pictures(lidc_slices):
    agree("slices", probabilities.of_slices(lidc_slices), probabilities.SLICES)
