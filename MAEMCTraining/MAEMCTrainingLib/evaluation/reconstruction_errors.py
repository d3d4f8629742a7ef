"""How far the training's own cases are from what the pre-training's autoencoder expects: what the error of a new case
is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from MAEMCLib.applicability import PERCENTILES
from MAEMCLib.inputs import INPUTS
from MAEMCLib.models.autoencoder import Autoencoder, difference, reconstruct
from MAEMCLib.networks.configuration import EncoderConfiguration

from ..classifiers.cases import source_of
from ..classifiers.fold_model import FoldTraining
from ..data.cases import TEST
from ..statistics.operating_points import FEWEST_CASES

SAMPLE = 200
"""Cases that are reconstructed: percentiles of more would take longer and say the same."""


def training_errors(trained: FoldTraining) -> dict[str, list[float]]:
    """{plane: percentiles 0 ... 100 of the mean errors of a random sample of the cases} in the input's own unit.

    Each as scoring computes it. The pre-training may have seen these cases, and expects them better than others then.
    Empty without an autoencoder that a bundle can hold; without planes of which below 20 cases have something.
    """
    start, cohort = trained.start, trained.cohort
    network = _autoencoder(trained) if start is not None else None
    cases = np.flatnonzero(cohort.main.parts != TEST)
    if network is None or len(cases) < FEWEST_CASES:
        return {}
    generator = np.random.default_rng(trained.run.seed)
    chosen = np.sort(generator.permutation(cases)[:SAMPLE])
    kind, images = INPUTS[cohort.main.kind.name], trained.images
    planes = {number: plane for number, (series, plane) in enumerate(map(source_of, cohort.branches)) if not series}
    found: dict[str, list[float]] = {plane: [] for plane in planes.values()}
    for case in chosen:
        plain = images.plain(int(case))
        for number, plane in planes.items():
            image = plain[number][0]
            if not np.isfinite(image).any():  # a slab has no coronal plane
                continue
            given = torch.from_numpy(image)[None, None].to(trained.session.device)
            expected = reconstruct(network, given, plane)[0, 0].cpu().numpy()
            found[plane].append(difference(kind, trained.preprocessing, image, expected).mean)
    known = {plane: values for plane, values in found.items() if len(values) >= FEWEST_CASES}
    return {plane: np.percentile(values, PERCENTILES).round(4).tolist() for plane, values in known.items()}


def _autoencoder(trained: FoldTraining) -> Autoencoder | None:
    """As the exported bundle holds it, in half precision; None where it holds none."""
    start = trained.start
    if not start.autoencoder or start.decoder is None or not isinstance(start.encoder, EncoderConfiguration):
        return None
    network = Autoencoder(replace(start.encoder, offsets=()), start.decoder)
    network.load_state_dict({name: tensor.half().float() for name, tensor in start.autoencoder.items()})
    return network.to(trained.session.device).eval().requires_grad_(False)
