"""What the worker adds to a bare forward pass, and seconds from a click to a number, cold and warm."""

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from large_model import regions
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.nodule import montage
from MAEMCLib.models.bundle import ModelBundle, read_card
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.store import find_model
from MAEMCLib.scoring import prepare, scored
from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.protocol import encode_array
from samples import said, seconds

SAMPLES = 21


def rows(bundles: dict[str, Path]):
    """Rows of the table."""
    for name, path in bundles.items():
        yield from _overhead(name, path)
    shipped = find_model()
    for title, path in (("shipped model", shipped), ("ViT-L bfloat16", bundles["bfloat16"])):
        cold, warm = _click(path)
        yield f"click to number, cold, {title}", said(cold)
        yield f"click to number, warm, {title}", said(warm)


def _overhead(name: str, path: Path):
    """Bare forward passes and worker round trips in turn, so that both see the same machine."""
    predictor = Predictor(ModelBundle.open(path), "cpu")
    roi = regions(1)[0]
    network = predictor.members[0]
    images = torch.from_numpy(np.stack([montage(stack, predictor.card) for stack in (roi.axial, roi.coronal)]))
    images = images.unsqueeze(1).to(network.encoder.cls_token.dtype)
    client = WorkerClient()

    def bare():
        with torch.inference_mode():
            network(images)

    def through_worker():
        nodule = {"axial": encode_array(roi.axial), "coronal": encode_array(roi.coronal)}
        _wait(client, client.send("predict", model=str(path), device="cpu", nodules=[nodule]))

    try:
        through_worker()
        pairs = [(seconds(bare, 1, 1)[0], seconds(through_worker, 1, 1)[0]) for _ in range(SAMPLES)]
    finally:
        client.stop()
    bare_median, worker_median = (statistics.median(column) for column in zip(*pairs, strict=True))
    yield (
        f"worker over bare forward, ViT-L {name}",
        f"{worker_median / bare_median - 1:.0%} ({worker_median:.3f} s over {bare_median:.3f} s)",
    )


def _click(path: Path) -> tuple[list[float], list[float]]:
    """From a point in a loaded volume to a finished row, with a new process each time and with a warm one."""
    rng = np.random.default_rng(0)
    volume = CTVolume(rng.integers(-1000, 200, (200, 300, 300)).astype(np.int16), np.diag([0.8, 0.8, 1.0, 1.0]))
    card = read_card(path)

    def click(client: WorkerClient) -> float:
        started = time.perf_counter()
        prepared = prepare(volume, "N1", (120.0, 120.0, 100.0), card)
        nodule = {"axial": encode_array(prepared.roi.axial), "coronal": encode_array(prepared.roi.coronal)}
        answer = _wait(client, client.send("predict", model=str(path), nodules=[nodule]))
        scored(prepared, answer["predictions"][0], card)
        return time.perf_counter() - started

    cold, warm = [], []
    for _ in range(3):
        client = WorkerClient()
        try:
            cold.append(click(client))
            warm += [click(client) for _ in range(7)]
        finally:
            client.stop()
    return cold, warm


def _wait(client: WorkerClient, number: int) -> dict:
    while True:
        for message in client.poll():
            if message["id"] == number and message["kind"] == "result":
                return message
            if message["kind"] == "error":
                raise RuntimeError(message["message"])
        time.sleep(0.001)
