"""A slice of the fuzzing in every run of the suite; ``python -m Testing.fuzzing`` is the whole."""

import pytest

from Testing.fuzzing.judging import run
from Testing.fuzzing.readers import READERS

CASES, NATIVE_CASES = 400, 60
SEED = 20251130


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_spoiled_inputs_are_refused_or_read_as_they_are(reader, tmp_path):
    outcome = run(reader, tmp_path, NATIVE_CASES if reader.native else CASES, SEED)
    assert outcome.cases >= (NATIVE_CASES if reader.native else CASES) // 2
    assert outcome.sound, outcome.faults
