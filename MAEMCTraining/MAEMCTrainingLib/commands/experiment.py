"""The command ``maemc-train experiment``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.errors import UsageError
from MAEMCLib.files.atomic import home

from ..classifiers.cases import division_of, labeled
from ..classifiers.presets import finetuning_preset
from ..data.cases import split_patients
from ..data.cohort import join
from ..data.sources import Source
from ..engine.configuration import PRESETS
from ..experiments.cell import EVALUATE, FINETUNE, FUSE
from ..experiments.registry import experiment_named, experiments
from . import (
    TRAINING,
    add_command,
    add_data,
    add_machine,
    add_output,
    evaluation,
    make_parser,
    parse,
    reduction,
    training,
)
from .training import add_columns, column_words, kind_name, running


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands, "experiment", _experiment, "train and evaluate the cells of a table on your data", (*TRAINING, "timm")
    )
    command.add_argument("name", metavar="NAME", help=", ".join(experiments()))
    add_data(command, default=None, required=True)
    add_data(
        command,
        "--pretraining-data",
        help="other patients to pre-train on; without it a share of the patients (2-D pictures, maemc-table-6), or the "
        "pre-training is repeated in each fold",
    )
    add_output(command)
    command.add_argument("--preset", choices=PRESETS, default="tiny")
    add_machine(command)
    command.add_argument(
        "--pretraining-share",
        type=float,
        metavar="SHARE",
        help="of the patients for pre-training alone, where --pretraining-data is not given (default 0.4; "
        "maemc-table-6: 0.8)",
    )
    add_columns(command)
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="settings for all cells")
    command.add_argument("--only", action="append", default=[], metavar="TEXT", help="cells whose name begins so")


def _experiment(options: argparse.Namespace) -> int:
    from ..experiments.run import ExperimentRun, run_experiment
    from ..experiments.small_cnn import SMALL_CNN, small_cnn_run, train_small_cnn

    experiment, columns = experiment_named(options.name), column_words(options)
    if columns and experiment.command != FUSE:
        raise UsageError("--clinical, --branches and --target go with the experiment resmae-fusion.", "fusion")
    kind = kind_name([Source(path) for path in options.data])
    if kind != "nodule" and experiment.command != FINETUNE:
        raise UsageError(f"{options.name} is of nodules in CT, and these are 2-D pictures. Give nodules.", "kind")
    if not options.pretraining_data and (kind != "nodule" or experiment.command == EVALUATE):
        share = options.pretraining_share if options.pretraining_share is not None else experiment.pretraining_share
        options.pretraining_data, options.data = split_patients(options.data, options.output, share)
    if experiment.command == EVALUATE and len(options.data) > 1:
        raise UsageError("Give one --data with the patients to evaluate on, beside --pretraining-data.", "data")
    data, cases, cohort, tuning = options.data, 0, None, None
    if experiment.command == FINETUNE:
        data, cases, cohort, tuning = _labeled(options, kind)
    rival = [SMALL_CNN] if experiment.small_cnn and kind == "nodule" else []
    cells = experiment.list_cells(cases)
    chosen = [cell for cell in cells if not options.only or cell.name.startswith(tuple(options.only))]
    if not chosen and not set(rival) & set(options.only):
        names = ", ".join([cell.name for cell in cells] + rival)
        raise UsageError(f"No cell's name begins with {' or '.join(options.only)}. They are {names}.")
    threads = ["--threads", str(options.threads)] if options.threads else []
    run = ExperimentRun(
        experiment,
        data,
        options.pretraining_data,
        options.output,
        training=["--preset", options.preset, *threads],
        machine=["--device", options.device],
        settings=options.overrides,
        columns=columns,
        quiet=options.quiet,
    )
    code = run_experiment(run, chosen, run_command, cells)
    if code:
        return code
    if rival and (not options.only or SMALL_CNN in options.only):
        with running(options, "finetune", options.output / SMALL_CNN) as session:
            train_small_cnn(cohort, small_cnn_run(tuning), session)
    run.write_table(cells)
    if not options.quiet:
        print((options.output / "table.md").read_text(encoding="utf-8"))
    print(options.output)
    return 0


def _labeled(options: argparse.Namespace, kind: str) -> tuple[list[Path], int, Any, Any]:
    """The folders of the cut data, the labeled cases in a fold's training part, the cohort, and the fine-tuning."""
    caches = [Source(path).open(options.output / "caches", home()) for path in options.data]
    cohort, run = labeled(join(caches)), finetuning_preset(options.preset, None, kind)
    cases = round(len(cohort) * (run.folds - 1) / run.folds)
    if cohort.main.is_divided:
        cases = len(division_of(cohort, run).folds[0].train)
    return [cache.folder for cache in caches], cases, cohort, run


def run_command(words: Sequence[str]) -> int:
    """Run one of the commands that make a table, as it would be typed; its exit code. Raises what it raises."""
    options = parse(make_parser((training, evaluation, reduction)), words)
    return options.run(options) or 0
