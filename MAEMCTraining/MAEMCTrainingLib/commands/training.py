"""Commands that train: ``pretrain``, ``finetune``, ``export``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.errors import UsageError
from MAEMCLib.model_store import home

from ..configuration import PRESETS
from . import Counter, add_command


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    command = _training(commands, "pretrain", _pretrain, "pre-train an encoder without labels")
    command.add_argument("--method", default="maemc")
    command.add_argument(
        "--unlabeled-data",
        type=Path,
        action="append",
        default=[],
        metavar="MANIFEST|CACHE",
        help="takes only patients without any labeled case, so that evaluating the others stays honest",
    )

    command = _training(commands, "finetune", _finetune, "train and evaluate a classifier in folds by patient")
    command.add_argument("--from", dest="start", required=True, metavar="JOB|scratch", help="a pre-training job")
    command.add_argument("--folds", type=int, metavar="N")
    command.add_argument("--protocol", choices=("honest", "paper"), default="honest")
    command.add_argument("--linear-probe", action="store_true", help="fit the linear layer alone, on a frozen encoder")

    command = add_command(commands, "export", _export, "write the bundle of a fine-tuning job")
    command.add_argument("job", type=Path, metavar="JOB")
    command.add_argument("--output", type=Path, required=True, metavar="MODEL.maemc")
    command.add_argument("--card", type=Path, metavar="TOML", help="texts of the card: id, version, title, licence ...")
    command.add_argument("--id", help="instead of --card")
    command.add_argument("--version", default="1.0")
    command.add_argument("--title")


def _training(commands: Any, name: str, run: Callable, summary: str) -> argparse.ArgumentParser:
    command = add_command(commands, name, run, summary)
    command.add_argument("--data", type=Path, action="append", default=[], metavar="MANIFEST|CACHE", help="repeatable")
    command.add_argument("--output", type=Path, required=True, metavar="JOB", help="folder of the job")
    command.add_argument("--preset", choices=PRESETS, default="default")
    command.add_argument("--device", default="auto")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (bit-identical runs need the same)"
    )
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="any setting, e.g. epochs=6")
    return command


def _pretrain(options: argparse.Namespace) -> None:
    from ..configuration import override, pretraining_preset
    from ..data.cohort import join
    from ..pretraining import method_named
    from ..pretraining.run import pretrain

    method = method_named(options.method)
    run = override(pretraining_preset(options.preset, options.method, method.Configuration()), options.overrides)
    caches, data = _open_all(options, options.data, "all")
    unlabeled, more = _open_all(options, options.unlabeled_data, "patients without a label")
    cohort = join(caches, unlabeled)
    pretrain(cohort, run, options.output, home(), _device(options), data + more, options.typed, options.quiet)
    print(options.output)


def _finetune(options: argparse.Namespace) -> None:
    from ..configuration import finetuning_preset, override
    from ..data.cohort import join
    from ..finetuning import finetune, labeled
    from ..pretraining.run import load_pretrained

    pretrained = None if options.start == "scratch" else load_pretrained(Path(options.start))
    run = finetuning_preset(options.preset, pretrained.run.encoder if pretrained else None)
    if options.folds is not None:
        options.overrides = [f"folds={options.folds}", *options.overrides]
    if options.linear_probe:
        options.overrides = ["linear_probe=true", *options.overrides]
    run = override(run, options.overrides)
    if pretrained is not None and run.encoder != pretrained.run.encoder:
        raise UsageError("The encoder's settings come from the pre-training and cannot be changed here.", "encoder")
    caches, data = _open_all(options, options.data, "labeled cases")
    cohort = labeled(join(caches))
    finetune(
        cohort,
        run,
        options.output,
        home(),
        _device(options),
        data,
        pretrained,
        options.protocol,
        options.typed,
        options.quiet,
    )
    print(options.output)


def _open_all(options: argparse.Namespace, paths: Sequence[Path], takes: str) -> tuple[list, list[dict[str, str]]]:
    from ..data.sources import open_data

    if not options.data and not getattr(options, "unlabeled_data", None):
        raise UsageError("Say what to train on: --data with a manifest or a cache.", "no-data")
    caches = []
    for path in paths:
        with Counter("Cutting", options.quiet) as counter:
            caches.append(open_data(path, options.output / "caches", home(), counter))
        for skipped in caches[-1].left_out:
            print(f"left out {skipped['case_id']}: {skipped['reason']}", file=sys.stderr)
    return caches, [{"path": str(path.resolve()), "takes": takes} for path in paths]


def _device(options: argparse.Namespace) -> Any:
    import torch
    from MAEMCLib.device import choose_device

    if options.threads is not None:
        if options.threads < 1:
            raise UsageError(f"--threads is {options.threads}; it has to be at least 1.")
        torch.set_num_threads(options.threads)
    return torch.device(choose_device(options.device).name)


def _export(options: argparse.Namespace) -> None:
    from ..export import export, read_card_texts

    if options.card is not None:
        texts = read_card_texts(options.card)
    elif options.id:
        texts = {
            "id": options.id,
            "version": options.version,
            "title": options.title or options.id,
            "intended_use": "Research only, not for clinical use.",
        }
    else:
        raise UsageError("Give the model a name: --id NAME, or --card FILE.toml with its texts.", "no-card")
    bundle = export(options.job, options.output, texts)
    if not options.quiet:
        print(f"{bundle.card.id} {bundle.card.version}, verified, SHA-256 {bundle.card.sha256}", file=sys.stderr)
    print(options.output)
