"""What each ``maemc models`` command does, apart from reading its arguments."""

import json
import sys
from argparse import Namespace

from ..machine.terminal import visible
from ..models import store
from ..models.bundle import ModelBundle, copy_bundle, read_card


def models_list(arguments: Namespace) -> int:
    """``maemc models list``."""
    models = store.list_models()
    if arguments.json:
        print(json.dumps([_row(model) for model in models], ensure_ascii=False))
        return 0
    for model in models:
        if model.card is None:
            print(f"{visible(model.path.name)}  cannot be used: {visible(model.problem)}")
        else:
            origin = "shipped" if model.shipped else "imported"
            unverified = "" if model.card.reference else "  (unverified)"
            print(visible(f"{model.name}  {model.card.sha256}  {origin}  {model.card.title}{unverified}"))
    if not models:
        print("No models. Import one with 'maemc models import FILE'.")
    return 0


def _row(model: store.StoredModel) -> dict:
    card = model.card
    return {
        **{name: getattr(card, name, None) for name in ("id", "version", "title", "sha256")},
        "verifiable": card.reference is not None if card else None,
        "shipped": model.shipped,
        "path": str(model.path),
        "problem": model.problem,
    }


def models_show(arguments: Namespace) -> int:
    """``maemc models show``: the card for people, or with --json the whole of it."""
    from ..report.card import card_text

    card = read_card(store.find_model(arguments.reference))
    if arguments.json:
        print(json.dumps({**card.values, "bundle_sha256": card.sha256}, ensure_ascii=False))
    else:
        print(card_text(card))
    return 0


def models_verify(arguments: Namespace) -> int:
    """``maemc models verify``: names each file that does not match, and computes the model's reference case; exit code
    4 where anything is wrong."""
    path = store.find_model(arguments.reference)
    bundle = ModelBundle(path, read_card(path))
    problems = [*filter(None, [store.shipped_problem(bundle.card)]), *bundle.problems()]
    for problem in problems:
        print(f"{path.name}: {problem}")
    if problems:
        return 4
    print(f"{bundle.card.id} {bundle.card.version}: {len(bundle.card.files)} files match their SHA-256.")
    print(f"SHA-256 of its card: {bundle.card.sha256}")
    others = (name for name, sha256 in store.SHIPPED.items() if sha256 != bundle.card.sha256)
    if any(name.partition("@")[0] == bundle.card.id for name in others):
        print(f"It has the id of the model that comes with MAEMC, and is another one: {bundle.card.title}")
    print(store.verify(bundle))
    return 0


def models_import(arguments: Namespace) -> int:
    """``maemc models import``."""
    model = store.import_model(arguments.file, arguments.sha256)
    print(f"SHA-256 of its card: {model.card.sha256}\n{model.note}".rstrip(), file=sys.stderr)
    print(f"{model.name} is at {model.path}")
    return 0


def models_export(arguments: Namespace) -> int:
    """``maemc models export``."""
    copied = copy_bundle(ModelBundle.open(store.find_model(arguments.reference)), arguments.output)
    print(f"Written to {copied.path}")
    return 0


def models_remove(arguments: Namespace) -> int:
    """``maemc models remove``."""
    print(f"Removed {store.remove_model(arguments.reference)}")
    return 0
