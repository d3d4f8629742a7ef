"""What ``maemc score`` and ``maemc explain`` do with a model of 2-D pictures."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..files.atomic import write_json
from ..fingerprint import input_sha256
from ..images.content import content_sha256
from ..machine.installation import check_torch
from ..models.bundle import ModelBundle
from ..picture_scoring import PreparedPicture, View, prepare_picture, score_pictures
from ..results import DISCLAIMER, NoduleResult

NAME = "P1"
"""The name of the one picture of a command."""


def score(arguments: Namespace, bundle: ModelBundle, folder: Path | None) -> NoduleResult:
    """Score a picture, print it, write its files. folder: where, or None. Raises UsageError for a point."""
    check_torch()
    from ..models.opening import open_predictor
    from ..report.figures import save_figure
    from ..report.formats import write_report
    from ..report.pictures import map_figure
    from ..report.scores import results_table, score_report
    from ..report.tables import results_document, write_results

    _check_points(arguments, bundle)
    predictor = open_predictor(bundle, arguments.device)
    ((result, prepared),) = score_pictures([(Path(arguments.image), NAME)], predictor)
    if prepared is not None:
        result = replace(result, **_fingerprint(Path(arguments.image), bundle))
    if folder is not None:
        write_results(folder, [result], bundle.card, predictor.device)
        figure = None
        if prepared is not None:
            (found, grown, sanity), *_ = _maps(predictor, result, prepared, first=True)
            figure = folder / "overlay.png"
            view = View.of(prepared.gray, bundle.card.preprocessing)
            save_figure(map_figure(result, prepared.gray, view, found, grown, sanity), figure)
        write_report(score_report([(result, figure)], bundle.card), folder / "report.html")
    if arguments.json:
        document = results_document([result], bundle.card, predictor.device)
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    elif not arguments.quiet:
        print(results_table([result], bundle.card))
        if folder is not None:
            print(f"Written to {folder}")
    return result


def explain(arguments: Namespace, bundle: ModelBundle, folder: Path) -> int:
    """Every map of a picture as PNG and as arrays, with the figures of what each is worth. Raises InputError,
    UsageError."""
    check_torch()
    from ..models.opening import open_predictor
    from ..report.figures import save_figure
    from ..report.pictures import TITLES, heads_figure, map_figure, sanity_lines
    from ..scoring import scored

    _check_points(arguments, bundle)
    prepared = prepare_picture(Path(arguments.image), NAME, bundle.card)
    predictor = open_predictor(bundle, arguments.device)
    result = scored(prepared, vars(predictor.predict([prepared])[0]), bundle.card)
    result = replace(result, **_fingerprint(Path(arguments.image), bundle))
    view = View.of(prepared.gray, bundle.card.preprocessing)
    listed = []
    for found, grown, sanity in _maps(predictor, result, prepared):
        save_figure(map_figure(result, prepared.gray, view, found, grown, sanity), folder / f"{found.kind}.png")
        _save_arrays(folder, found.kind, found.grid, grown)
        if found.heads is not None:
            from ..explain.attention import interpolated

            heads = interpolated(found.heads, predictor.side)
            save_figure(heads_figure(prepared.gray, view, found.heads, heads), folder / "heads.png")
            _save_arrays(folder, "heads", found.heads, heads)
        listed.append({"kind": found.kind, "grid": list(found.grid.shape), "sanity": asdict(sanity)})
        if not arguments.quiet:
            print(TITLES[found.kind])
            for line in sanity_lines(sanity, result.class_name):
                print(f"    {line}")
    document = {
        "schema": 1,
        "model": {"id": bundle.card.id, "version": bundle.card.version, "sha256": bundle.card.sha256},
        "image": result.image,
        "probability": result.probability,
        "class": result.class_name,
        "view": asdict(view),  # where the square of the interpolated maps lies, in the picture's pixels
        "side": predictor.side,
        "maps": listed,
        "disclaimer": DISCLAIMER,
    }
    write_json(folder / "maps.json", document)
    if not arguments.quiet:
        if not any(entry["kind"] == "attention" for entry in listed):
            print("The model's network has no attention weights; Grad-CAM stands in their place.")
        print(f"Written to {folder}. {DISCLAIMER}")
    return 0


def _fingerprint(image: Path, bundle: ModelBundle) -> dict[str, str]:
    """What a result says of the picture and of all that it was computed from."""
    content = content_sha256(image, volume=False)
    return {"image": content[:12], "input_sha256": input_sha256(image, bundle.card)}


def _maps(predictor, result: NoduleResult, prepared: PreparedPicture, first: bool = False) -> list[tuple]:
    """(map, the map interpolated to (side, side), its sanity figures) for each kind; first: for the first kind only."""
    from ..explain.attention import interpolated, place_maps
    from ..explain.sanity import check_maps

    image = predictor.image(prepared, "picture")
    positive = result.class_name == predictor.card.positive_class
    maps = place_maps(predictor, image, positive)[: 1 if first else None]
    figures = check_maps(predictor, image, maps, positive)
    return [(found, interpolated(found.grid, predictor.side), s) for found, s in zip(maps, figures, strict=True)]


def _save_arrays(folder: Path, name: str, grid: np.ndarray, grown: np.ndarray) -> None:
    np.save(folder / f"{name}.npy", grid)
    np.save(folder / f"{name}_interpolated.npy", grown)


def _check_points(arguments: Namespace, bundle: ModelBundle) -> None:
    given = [f"--{name}" for name in ("point", "points", "series", "clinical") if getattr(arguments, name, None)]
    if given:
        raise UsageError(
            f"The model {bundle.card.id} scores whole 2-D pictures: {given[0]} does not go with it. Leave it out, or "
            "choose a model of nodules with --model."
        )
