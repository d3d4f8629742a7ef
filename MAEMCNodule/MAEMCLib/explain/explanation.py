"""Why a case has its result: where the networks look, what those maps are worth, what the autoencoder reconstructs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from ..applicability import PERCENTILES, percentile
from ..errors import ModelError
from ..files.strict_json import is_number
from ..inputs.input import Prepared
from ..models.autoencoder import Autoencoder, difference, load_autoencoder, reconstruct
from ..models.card import ModelCard
from ..models.predictor import Predictor
from ..networks.configuration import TILES, EncoderConfiguration
from .attention import (
    GRAD_CAM,
    LAST_BLOCK,
    ROLLOUT,
    ExplainedImage,
    PlaceMap,
    by_patch,
    grown,
    has_attention,
    place_maps,
)
from .grad_cam import has_slice_maps
from .occlusion import occlusion
from .sanity import Sanity, check_maps


@dataclass
class Explanation:
    """What explains the result of a case, by branch; arrays as the input's ``unfolded`` gives them.

    card: the model's. class_name: what is explained.
    reconstruction: in the input's own unit (HU, gray value); every patch as it was predicted while masked, never copied
    from the input. Empty for a bundle without autoencoder.
    error: absolute difference to what the networks saw. What the model finds unusual, not why a case should be
    malignant. Empty for a bundle without autoencoder. mean_error: of what was observed. error_percentile: share of the
    training's cases, in percent, with a smaller one; None where the bundle does not store them.
    seen: what the networks were shown, in the input's own unit, NaN where nothing was observed.
    attention: of what the networks see, from 0 to 1: the last one of the ``maps`` that they give. It is attention
    rollout from the class token, as coarse as the patches, or Grad-CAM for the class that is explained, as
    ``attention_kind`` says for people. slices: (25,) weights of attention rollout, of networks whose tokens are slices.
    sources: each branch's (series, plane). problem: why an autoencoder that the bundle has cannot be used.
    maps, sanity: every map of places as the networks give it, and, where it is wanted, the one by occlusion and what
    each is worth.
    """

    card: ModelCard
    class_name: str
    attention_kind: str
    sources: dict[str, tuple[str, str]]
    reconstruction: dict[str, np.ndarray] = field(default_factory=dict)
    error: dict[str, np.ndarray] = field(default_factory=dict)
    mean_error: dict[str, float] = field(default_factory=dict)
    error_percentile: dict[str, float | None] = field(default_factory=dict)
    seen: dict[str, np.ndarray] = field(default_factory=dict)
    attention: dict[str, np.ndarray] = field(default_factory=dict)
    slices: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[str, list[PlaceMap]] = field(default_factory=dict)
    sanity: dict[str, list[Sanity]] = field(default_factory=dict)
    problem: str = ""

    def parts(self) -> dict[str, dict[str, np.ndarray]]:
        """The arrays by part and branch."""
        return {"reconstruction": self.reconstruction, "error": self.error, "attention": self.attention}

    def files(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """The name of each array's file, without an ending, its branch and the array; no file of Windows has a colon in
        its name."""
        for part, branches in self.parts().items():
            for branch, array in branches.items():
                yield f"{part}_{branch.replace(':', '_')}", branch, array

    def to_json(self) -> dict[str, Any]:
        """What its maps are worth, its errors and the slices' weights, for programs."""
        card = self.card
        return {
            "schema": 1,
            "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
            "class": self.class_name,
            "slices_shown": list(self.shown) if card.kind.tiled else None,
            "error": {
                branch: {"mean": value, "percentile": self.error_percentile[branch]}
                for branch, value in self.mean_error.items()
            },
            "slices": {branch: weights.tolist() for branch, weights in self.slices.items()},
            "maps": {
                branch: [
                    {"kind": one.kind, "grid": one.grid.tolist(), **(asdict(sanity) if sanity else {})}
                    for one, sanity in zip_longest(maps, self.sanity.get(branch, ()))
                ]
                for branch, maps in self.maps.items()
            },
            "notice": self.notice,
        }

    @property
    def shown(self) -> tuple[int, ...]:
        """The slices that the networks see, of those of a montage."""
        configuration = self.card.encoder
        tokens = isinstance(configuration, EncoderConfiguration) and configuration.grid == TILES
        return configuration.shown if tokens else tuple(range(TILES * TILES))

    @property
    def notice(self) -> str:
        """What is missing and why; empty where nothing is."""
        if self.problem:
            return f"There is no reconstruction and no error. {self.problem}"
        return "" if self.reconstruction else "The model holds no autoencoder: there is no reconstruction and no error."


def explain(
    predictor: Predictor,
    case: Prepared,
    autoencoder: Autoencoder | None = None,
    class_name: str | None = None,
    measured: bool = False,
) -> Explanation:
    """Map where the networks look on each image of a case, and reconstruct it where the bundle has an autoencoder.

    The same case always gives the same arrays (fixed masks). Without a usable autoencoder the maps remain.

    autoencoder: as ``load_autoencoder`` made it, to keep it between calls. class_name: what is explained, by default
    the positive class, or of several the likeliest. measured: whether occlusion and each map's sanity
    figures are wanted; they take longer than the other maps.
    """
    card, kind = predictor.card, predictor.card.kind
    sources = {plane: ("", plane) for plane in kind.planes["mean"]} | predictor.sources
    named = class_name or _explained_class(predictor, case)
    explanation = Explanation(card, named, _attention_kind(predictor), sources)
    try:
        autoencoder = autoencoder or load_autoencoder(predictor)
    except ModelError as error:
        explanation.problem = str(error)
    for branch, (series, plane) in explanation.sources.items():
        image = predictor.image(case, plane, series)
        if image is None:
            continue
        if branch in predictor.sources:
            explained = ExplainedImage(predictor, image, card.classes.index(named), branch, case.values)
            _map(explanation, explained, measured)
        if autoencoder is not None:
            _reconstruct(explanation, autoencoder, image, branch, plane)
    if not all(np.isfinite(array).all() for array in explanation.reconstruction.values()):
        explanation.reconstruction, explanation.error, explanation.mean_error = {}, {}, {}
        explanation.problem = f"The autoencoder of {card.id} gives no finite values for this {kind.noun}."
    return explanation


def _attention_kind(predictor: Predictor) -> str:
    if not has_attention(predictor):
        return "Grad-CAM"
    return "Grad-CAM of each slice" if has_slice_maps(predictor.members[0].encoder) else "attention rollout"


def _map(explanation: Explanation, explained: ExplainedImage, measured: bool) -> None:
    """Where the networks look on an image."""
    branch, kind, side = explained.branch, explanation.card.kind, explained.predictor.side
    restored = kind.restored(explained.image, explanation.card.preprocessing)
    explanation.seen[branch] = kind.unfolded(np.where(np.isfinite(explained.image), restored, np.nan))
    maps = [one for one in place_maps(explained) if not (kind.tiled and one.kind == LAST_BLOCK)]  # rollout says more
    last = maps[-1]
    by_token = kind.tiled and last.kind != GRAD_CAM
    explanation.attention[branch] = kind.unfolded(
        by_patch(last.grid, side) if by_token else grown(last.grid, side, kind.tiled)
    )
    rollouts = [one.grid for one in maps if one.kind == ROLLOUT and kind.tiled and len(one.grid) == TILES]
    if rollouts:
        explanation.slices[branch] = rollouts[0].ravel()
    if measured:
        maps.append(occlusion(explained, kind.tiled))
        explanation.sanity[branch] = check_maps(explained, maps, kind.tiled)
    explanation.maps[branch] = maps


def _reconstruct(
    explanation: Explanation, autoencoder: Autoencoder, image: np.ndarray, branch: str, plane: str
) -> None:
    """An image as the autoencoder expects it, and how far it is from that."""
    card, kind = explanation.card, explanation.card.kind
    expected = reconstruct(autoencoder, torch.from_numpy(image)[None, None], plane)[0, 0].numpy()
    found = difference(kind, card.preprocessing, image, expected)
    explanation.reconstruction[branch] = kind.unfolded(found.expected)
    explanation.error[branch] = kind.unfolded(found.absolute)
    explanation.mean_error[branch] = found.mean
    stored = _training_errors(card, plane)
    explanation.error_percentile[branch] = percentile(explanation.mean_error[branch], stored) if stored else None


def _training_errors(card: ModelCard, plane: str) -> list[float]:
    """Percentiles 0, 1 ... 100 of the training cases' mean errors of a plane; empty where the card does not hold them,
    or no such numbers."""
    by_plane = card.values.get("training_errors")
    stored = by_plane.get(plane) if isinstance(by_plane, dict) else None
    whole = isinstance(stored, list) and len(stored) == len(PERCENTILES) and all(map(is_number, stored))
    return stored if whole and stored == sorted(stored) else []


def _explained_class(predictor: Predictor, case: Prepared) -> str:
    if len(predictor.card.classes) == 2:
        return predictor.card.positive_class
    probabilities = predictor.predict([case])[0].class_probabilities
    return max(probabilities, key=probabilities.get)
