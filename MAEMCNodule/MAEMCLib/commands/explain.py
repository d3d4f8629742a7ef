"""``maemc explain``: where the classifier looks, what the autoencoder rebuilds and where it errs, as files."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from ..files.folder import make_folder
from ..models.bundle import ModelBundle
from ..models.store import find_model
from ..results import DISCLAIMER
from .score import say, score_cases


def explain(arguments: Namespace) -> int:
    """The command."""
    folder = Path(arguments.output)
    make_folder(folder)
    bundle = ModelBundle.open(find_model(arguments.model))
    card, kind = bundle.card, bundle.card.kind
    (found,), predictor = score_cases(kind.cases(arguments, card, say), bundle, arguments)
    if found.error is not None:
        raise found.error
    from ..explain.explanation import explain as explained

    asked = None if kind.located else found.result.class_name
    explanation = explained(predictor, found.prepared, class_name=asked, measured=kind.measured)
    lines = kind.write(folder, found.result, found.prepared, explanation, card)
    if not arguments.quiet:
        print("\n".join([*lines, f"Written to {folder}. {DISCLAIMER}"]))
    return 0
