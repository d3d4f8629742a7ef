"""The queue of keys against Python's deque, across a save, and across processes."""

import os
import subprocess
import sys
from collections import deque

import pytest
import torch
from MAEMCTrainingLib.pretraining.parts.momentum_contrast import KeyQueue


def contents(queue: KeyQueue) -> list[tuple]:
    """(key, patient) from the oldest to the newest, by walking back from the pointer."""
    filled, pointer = int(queue.filled), int(queue.pointer)
    slots = [(pointer - filled + step) % queue.size for step in range(filled)]
    return [(*queue.keys[slot].tolist(), int(queue.patients[slot])) for slot in slots]


def random_batch(count: int, width: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, width, generator=generator), torch.randint(0, 9, (count,), generator=generator)


@pytest.mark.parametrize("size", [1, 7, 50, 700])
def test_queue_behaves_like_a_deque_for_any_batch(size):
    generator = torch.Generator().manual_seed(size)
    queue, expected = KeyQueue(size, 3), deque(maxlen=size)
    for _ in range(60):
        count = int(torch.randint(1, 2 * size + 3, (), generator=generator))
        keys, patients = random_batch(count, 3, generator)
        queue.enqueue(keys, patients)
        expected.extend((*key.tolist(), int(patient)) for key, patient in zip(keys, patients, strict=True))
        assert contents(queue) == list(expected)


def test_eleven_batches_of_64_fill_700_slots_without_losing_a_key():
    queue = KeyQueue(700, 2)
    for batch in range(11):
        numbers = torch.arange(64 * batch, 64 * batch + 64)
        queue.enqueue(numbers[:, None].float().expand(-1, 2), numbers)
    assert int(queue.filled) == 700
    assert int(queue.pointer) == 704 - 700
    assert sorted(queue.patients.tolist()) == list(range(4, 704))


def test_negatives_leave_out_empty_slots_and_the_own_patient():
    generator = torch.Generator().manual_seed(0)
    queue = KeyQueue(10, 4)
    stored = [-1] * 10
    for step, patients in enumerate(([3, 4, 3], [5, 3, 3, 9], [4, 4, 9, 9, 9, 3])):
        query = torch.tensor([3, 4, 7, -1])
        for same_patient in ("exclude", "keep"):
            allowed = queue.allowed(query, same_patient)
            for b, patient in enumerate(query.tolist()):
                for slot, owner in enumerate(stored):
                    occupied = slot < int(queue.filled)
                    assert bool(allowed[b, slot]) == (occupied and (same_patient == "keep" or owner != patient))
        queue.enqueue(torch.randn(len(patients), 4, generator=generator), torch.tensor(patients))
        start = (0, 3, 7)[step]
        for offset, patient in enumerate(patients):
            stored[(start + offset) % 10] = patient
    assert stored == queue.patients.tolist()


def test_empty_queue_has_no_negatives():
    assert not KeyQueue(5, 2).allowed(torch.tensor([-1, 0]), "keep").any()


def test_state_dict_carries_everything():
    generator = torch.Generator().manual_seed(0)
    queue = KeyQueue(20, 3)
    for _ in range(3):
        queue.enqueue(*random_batch(9, 3, generator))
    copy = KeyQueue(20, 3)
    copy.load_state_dict(queue.state_dict())
    assert set(queue.state_dict()) == {"keys", "patients", "pointer", "filled"}
    batch = random_batch(5, 3, generator)
    queue.enqueue(*batch)
    copy.enqueue(*batch)
    assert contents(copy) == contents(queue)


def test_queue_is_not_trained():
    assert not list(KeyQueue(5, 2).parameters())


PROCESS = """
import sys, torch
from MAEMCTrainingLib.pretraining.parts.momentum_contrast import KeyQueue
rank, store, target = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
queue = KeyQueue(7, 1)
for step in range(3):
    numbers = torch.arange(2) + 10 * step + 100 * rank
    queue.enqueue(numbers[:, None].float(), numbers)
torch.distributed.destroy_process_group()
open(target, "w").write(" ".join(str(p) for p in queue.patients.tolist()))
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_hold_the_same_queue(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path / "store"), str(tmp_path / f"{rank}.txt")],
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    written = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    single = KeyQueue(7, 1)
    for step in range(3):
        numbers = torch.tensor([0, 1, 100, 101]) + 10 * step
        single.enqueue(numbers[:, None].float(), numbers)
    assert written[0] == written[1] == " ".join(str(patient) for patient in single.patients.tolist())
