"""The command ``maemc-train fuse``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from MAEMCLib.errors import UsageError
from MAEMCLib.files.home import home

from . import Counter
from .evaluation import show_evaluation
from .training import _open_all, _running, _show_result, _start, _training, add_starting_point, check_timm, fold_words

if TYPE_CHECKING:
    from MAEMCLib.networks.encoders import AnyEncoderConfiguration

    from ..classifiers.fusion import FusionConfiguration
    from ..classifiers.starting_point import StartingPoint


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = _training(commands, "fuse", _fuse, "train images and clinical values together, for any number of classes")
    add_columns(command)
    add_starting_point(command, default="scratch")


def add_columns(command: argparse.ArgumentParser) -> None:
    """The options that say what is fused, and which class is told."""
    command.add_argument(
        "--clinical",
        action="append",
        default=[],
        metavar="COLUMN[:UNIT|:choice|:number],...",
        help="columns with clinical values, e.g. age:years,sex; none: the images alone",
    )
    command.add_argument(
        "--branches",
        metavar="NAME,...",
        help="image branches: axial, coronal, and for a further series the column with its images (image_2, "
        "image_2:coronal); default axial,coronal",
    )
    command.add_argument("--target", metavar="COLUMN", help="the class to be told (default: label)")


def column_words(options: argparse.Namespace) -> list[str]:
    """What was given of ``add_columns``, as it is typed."""
    words = [word for text in options.clinical for word in ("--clinical", text)]
    words += ["--branches", options.branches] if options.branches else []
    return [*words, *(["--target", options.target] if options.target else [])]


def _fuse(options: argparse.Namespace) -> None:
    from ..classifiers.fusion import fuse, fusion_preset
    from ..classifiers.fusion_data import check_columns, read_fusion_data
    from ..data.sources import Source, check_folds, naming_nobody
    from ..engine.configuration import encoder_named, override
    from ..evaluation.report import evaluate_job

    if not options.data:
        raise UsageError("Say what to train on: --data with a manifest.", "no-data")
    clinical, branches = _split(options.clinical), _split([options.branches or "axial,coronal"])
    target = options.target or "label"
    sources = [Source(path) for path in options.data]
    check_columns(sources, clinical, branches, target)

    def settings(start: StartingPoint | None, encoder: AnyEncoderConfiguration | None) -> FusionConfiguration:
        scratch = encoder is None
        if scratch and options.backbone:
            encoder = encoder_named(options.backbone, False, options.preset == "tiny")
        return override(fusion_preset(options.preset, encoder, scratch), [*fold_words(options), *options.overrides])

    run, start = _start(options, settings, flat=False)
    check_timm(run)
    with _running(options, "fuse") as (job, stop, device, processes):
        with naming_nobody(options.data):
            check_folds(run.folds, run.folds_from, sources)
            caches, data = _open_all(options, sources, "labeled cases", job, stop, processes)
        # The leader cuts the further series; the others find them there.
        with (
            naming_nobody(options.data),
            processes.leader_first(),
            Counter("Cutting", options.quiet or not processes.leads) as counter,
        ):
            cohort = read_fusion_data(
                caches,
                sources,
                clinical,
                branches,
                target,
                run.positive,
                options.output / "caches",
                home(),
                counter,
                job.log,
            )
        trained = fuse(cohort, run, job, home(), device, data, start, stop, options.protocol, processes)
        found = evaluate_job(trained) if trained else None
    if found is not None:
        show_evaluation(found, options.quiet)
    _show_result(options, processes)


def _split(texts: list[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]
