"""What the worker adds to a bare forward pass, and seconds from a click to a number, cold and warm."""

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from large_model import regions
from MAEMCLib.cases.case import Case
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.models.bundle import ModelBundle, read_card
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.store import find_model
from MAEMCLib.scoring import prepare, scored
from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.protocol import decode_outline, decode_prediction, encode_case
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
    case = Prepared(regions(1)[0])
    network = predictor.members[0]
    images = torch.from_numpy(np.stack([predictor.image(case, plane) for plane in ("axial", "coronal")]))
    images = images.unsqueeze(1).to(network.encoder.cls_token.dtype)
    client = WorkerClient()

    def bare():
        with torch.inference_mode():
            network(images)

    def through_worker():
        nodule = encode_case(case, predictor.card)
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
    """From a point in a nodule of a loaded volume to a finished row with its measures, with a new process each time and
    with a warm one."""
    k, j, i = np.indices((200, 300, 300), sparse=True)
    inside = (0.8 * (i - 150)) ** 2 + (0.8 * (j - 150)) ** 2 + (k - 100.0) ** 2 < 7.0**2
    hu = np.random.default_rng(0).normal(-850, 30, inside.shape) + 880 * inside
    volume = CTVolume(hu.astype(np.int16), np.diag([0.8, 0.8, 1.0, 1.0]))
    case, card = Case("", "", volume, "nodule", point_lps=(120.0, 120.0, 100.0)), read_card(path)

    def click(client: WorkerClient) -> float:
        started = time.perf_counter()
        prepared = prepare(case, card)
        answer = _wait(client, client.send("predict", model=str(path), nodules=[encode_case(prepared, card)]))
        prediction, nodule = decode_prediction(answer["predictions"][0]), decode_outline(answer, 0, prepared)
        assert scored(prepared, prediction, card, nodule=nodule).long_axis_mm > 10
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
