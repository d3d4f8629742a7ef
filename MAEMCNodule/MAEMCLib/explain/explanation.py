"""Why a case has its result: where the networks look, what those maps are worth, what the autoencoder reconstructs."""

from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import ModelError
from ..inputs.input import Prepared
from ..models.autoencoder import Autoencoder, load_autoencoder, reconstruct
from ..models.card import ModelCard
from ..models.predictor import Predictor
from .attention import GRAD_CAM, ExplainedImage, PlaceMap, by_patch, has_attention, interpolated, place_maps
from .sanity import Sanity, check_maps


@dataclass
class Explanation:
    """What explains the result of a case, by branch; arrays as the input's ``unfolded`` gives them.

    card: the model's.
    reconstruction: in the input's own unit (HU, gray value); every patch as it was predicted while masked, never copied
    from the input. Empty for a bundle without autoencoder.
    error: absolute difference to what the networks saw. What the model finds unusual, not why a case should be
    malignant. Empty for a bundle without autoencoder.
    attention: of what the networks see; 0 to 1, attention rollout from the class token, as coarse as the patches; or,
    of a network without attention weights, Grad-CAM for the class that is explained.
    attention_kind: which of the two, for people. sources: each branch's (series, plane). problem: why an autoencoder
    that the bundle has cannot be used.
    maps, sanity: every map of places as the network gives it, and, where it is wanted, what each is worth.
    """

    card: ModelCard
    attention_kind: str
    sources: dict[str, tuple[str, str]]
    reconstruction: dict[str, np.ndarray] = field(default_factory=dict)
    error: dict[str, np.ndarray] = field(default_factory=dict)
    attention: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[str, list[PlaceMap]] = field(default_factory=dict)
    sanity: dict[str, list[Sanity]] = field(default_factory=dict)
    problem: str = ""

    def parts(self) -> dict[str, dict[str, np.ndarray]]:
        """The arrays by part and branch."""
        return {"reconstruction": self.reconstruction, "error": self.error, "attention": self.attention}

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
    the positive class, or of several the likeliest. measured: whether each map's sanity figures are wanted; they take
    longer than the maps.
    """
    card, kind = predictor.card, predictor.card.kind
    sources = {plane: ("", plane) for plane in kind.planes["mean"]} | predictor.sources
    explanation = Explanation(card, "attention rollout" if has_attention(predictor) else "Grad-CAM", sources)
    try:
        autoencoder = autoencoder or load_autoencoder(predictor)
    except ModelError as error:
        explanation.problem = str(error)
    target = card.classes.index(class_name or _explained_class(predictor, case))
    for branch, (series, plane) in explanation.sources.items():
        image = predictor.image(case, plane, series)
        if image is None:
            continue
        if branch in predictor.sources:
            explained = ExplainedImage(predictor, image, target, branch, case.values)
            explanation.maps[branch] = place_maps(explained)
            if measured:
                explanation.sanity[branch] = check_maps(explained, explanation.maps[branch])
            explanation.attention[branch] = kind.unfolded(_grown(kind, explanation.maps[branch][-1], predictor.side))
        if autoencoder is not None:
            reconstructed = reconstruct(autoencoder, torch.from_numpy(image)[None, None], plane)[0, 0].numpy()
            seen, reconstructed = (kind.restored(values, card.preprocessing) for values in (image, reconstructed))
            explanation.reconstruction[branch] = kind.unfolded(reconstructed)
            explanation.error[branch] = kind.unfolded(np.abs(reconstructed - seen))
    if not all(np.isfinite(array).all() for array in explanation.reconstruction.values()):
        explanation.reconstruction, explanation.error = {}, {}
        explanation.problem = f"The autoencoder of {card.id} gives no finite values for this {kind.noun}."
    return explanation


def _explained_class(predictor: Predictor, case: Prepared) -> str:
    if len(predictor.card.classes) == 2:
        return predictor.card.positive_class
    probabilities = predictor.predict([case])[0].class_probabilities
    return max(probabilities, key=probabilities.get)


def _grown(kind, place_map: PlaceMap, side: int) -> np.ndarray:
    """The map from 0 to 1 over the whole image."""
    if kind.tiled and place_map.kind != GRAD_CAM:
        return by_patch(place_map.grid, side)
    enlarged_map = interpolated(place_map.grid, side)
    return enlarged_map / max(float(enlarged_map.max()), 1e-12)
