"""What each picture of an explanation shows, and what it does not, in a sentence; what a map is worth, in figures."""

from __future__ import annotations

from collections.abc import Iterator

TITLES = {
    "attention": "attention, last block",
    "rollout": "attention rollout",
    "grad-cam": "Grad-CAM",
    "occlusion": "occlusion",
}
_NO_CAUSE = "it does not say for which class, nor whether the result would change without"
_SHOWS = {
    "seen": "As the model saw it: its own window, spacing and order of slices; whatever is not here had no influence.",
    "reconstruction": "Reconstruction: what the autoencoder expects at each place from what surrounds it; it has seen "
    "each place hidden, and knows neither benign nor malignant.",
    "error": "Error: how far the picture is from that expectation, which makes edges, vessels and pleura bright as "
    "well; it shows what is unusual, not what is malignant.",
    "slices": "Bar over the slices: how much the class token draws from each through all blocks; "
    f"{_NO_CAUSE} the slice.",
    "attention": f"Attention of the last block: how much the class token reads from each patch; {_NO_CAUSE} the patch.",
    "rollout": "Attention rollout: how much reaches the class token from each patch through all blocks, as coarse as "
    f"the patches; {_NO_CAUSE} the patch.",
    "grad-cam": "Grad-CAM: where features lie that speak for {name}, no finer than its cells; what speaks against it "
    "is left out, and a bright place need not be a cause.",
    "occlusion": "Occlusion: how much the probability of {name} falls when a square there becomes mean gray{where}; it "
    "misses places that count only together, and no picture has such squares.",
}


def sentences(explanation) -> list[str]:
    """One for each picture that there is. explanation: ``explain.explanation.Explanation``."""
    tiled = explanation.card.kind.tiled
    kinds = dict.fromkeys(one.kind for maps in explanation.maps.values() for one in maps)
    there = ["seen"] if explanation.seen else []
    there += ["reconstruction", "error"] if explanation.reconstruction else []
    there += ["slices"] if explanation.slices else []
    there += [kind for kind in kinds if not (explanation.slices and kind in ("attention", "rollout"))]
    where = " in all slices at once" if tiled else ""
    made = [_SHOWS[kind].format(name=explanation.class_name, where=where) for kind in there]
    return [*made, *error_lines(explanation)]


def error_lines(explanation) -> Iterator[str]:
    """The mean error of each branch, with its place among the training's cases where the bundle holds them."""
    unit = " HU" if explanation.card.kind.located else ""
    for branch, value in explanation.mean_error.items():
        place = explanation.error_percentile.get(branch)
        text = "the bundle does not store those of the training, so that there is no percentile"
        if place is not None:
            text = f"larger than in {place:.0f} % of the training's cases"
        number = f"{value:.0f}" if unit else f"{value:.3f}"
        yield f"Mean error, {branch}: {number}{unit}; {text}."


def worth_lines(sanity, class_name: str) -> list[str]:
    """What a map is worth, in sentences for people. sanity: ``explain.sanity.Sanity``."""
    if sanity.deletion is None:
        return ["The map is the same everywhere: it tells nothing."]
    lines = []
    if sanity.randomized is not None:
        lines.append(
            f"Rank correlation with the map of the same network, its blocks drawn anew: {sanity.randomized:.2f} "
            "(near 1 the map tells nothing of what was learned)."
        )
    lines.append(
        f"Mean probability of {class_name} while the highest places are taken out: {sanity.deletion:.3f}, by the same "
        f"map turned and shifted at random {sanity.deletion_random:.3f} (lower is better);"
    )
    lines.append(
        f"while they are put in: {sanity.insertion:.3f}, by the random map {sanity.insertion_random:.3f} (higher is "
        "better)."
    )
    return lines


def worth_caption(sanity) -> str:
    """The same below a small picture."""
    if sanity.deletion is None:
        return "the same everywhere"
    return (
        f"deletion {sanity.deletion:.2f}, random {sanity.deletion_random:.2f}\n"
        f"insertion {sanity.insertion:.2f}, random {sanity.insertion_random:.2f}"
    )
