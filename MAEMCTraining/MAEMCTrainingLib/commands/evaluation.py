"""The commands that assess a model and hand it on: ``evaluate`` and ``export``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import home

from ..engine.processes import chosen_device
from ..jobs.progress import TerminalLine
from . import TRAINING, add_command, add_output, show

if TYPE_CHECKING:
    from MAEMCLib.report.sections import Report

_FAILED = 3


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    command = add_command(
        commands, "evaluate", _evaluate, "metrics, curves, calibration and a report of a model", TRAINING
    )
    command.add_argument(
        "model", metavar="JOB|BUNDLE", help="a finished job, a .maemc file or the id of an installed model"
    )
    command.add_argument(
        "--data",
        type=Path,
        metavar="MANIFEST|CACHE",
        help="labeled cases to score; without it a training's own out-of-fold predictions are reported again",
    )
    command.add_argument("--target", metavar="COLUMN", help="of the manifest: each case's class (default: label)")
    command.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN[:BOUND,...]",
        help="with --data: also within the groups of a column, e.g. --by diameter_mm:6,8,15 --by readers:3",
    )
    command.add_argument(
        "--clicks", action="store_true", help="with --data: also from points 1, 2, 3 mm beside each nodule's own"
    )
    command.add_argument("--output", type=Path, metavar="DIR", help="without --data: the job's own folder")
    command.add_argument("--device", default="auto")

    command = add_command(commands, "export", _export, "write the bundle of a fine-tuning job", TRAINING)
    command.add_argument("job", type=Path, metavar="JOB")
    add_output(command, "MODEL.maemc")
    command.add_argument("--card", type=Path, metavar="TOML", help="texts of the card: id, version, title, licence ...")
    command.add_argument("--id", help="instead of --card")
    command.add_argument("--version", default="1.0")
    command.add_argument("--title")
    command.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the stored weights; bfloat16 halves the file and moves a logit by some hundredths",
    )


def _evaluate(options: argparse.Namespace) -> int:
    from ..evaluation.external import Wanted, evaluate_on, make_output
    from ..evaluation.groups import Grouping
    from ..evaluation.page import evaluation_report
    from ..evaluation.report import evaluate_again
    from ..jobs.job import Job, finished_job

    folder, failed = Path(options.model), []
    kind = Job(folder).settings["kind"] if (folder / "job.json").is_file() else "bundle"
    wanted = Wanted(options.target, [Grouping.of(words) for words in options.by], options.clicks)
    if (options.by or options.clicks) and (options.data is None or kind == "pretrain"):
        raise UsageError("--by and --clicks are of data that a classifier scores: give --data.", "no-data")
    if kind == "pretrain":
        report = _evaluate_pretraining(options, folder)
    elif options.data is None:
        if kind == "bundle":
            raise UsageError(
                f"{options.model} is no job, and a bundle holds no predictions. Say what to score: --data "
                "MANIFEST|CACHE.",
                "no-data",
            )
        job = finished_job(folder, kind)
        if options.output is not None and options.output.resolve() != folder.resolve():
            make_output(options.output)
        report = evaluation_report(evaluate_again(job, options.output))
    elif options.output is None:
        raise UsageError("Say where the results go: --output DIR.", "no-output")
    else:
        with TerminalLine(options.quiet, "Scoring") as counter:
            found, failed = evaluate_on(
                options.model, options.data, options.output, home(), options.device, counter, wanted
            )
        report = evaluation_report(found)
    for case, _, reason in failed:
        print(f"{case} was not scored: {reason}", file=sys.stderr)
    if not options.quiet:
        show(report)
    print(options.output or folder)
    return _FAILED if failed else 0


def _evaluate_pretraining(options: argparse.Namespace, folder: Path) -> Report:
    from ..data.cohort import join
    from ..data.sources import Source
    from ..evaluation.external import make_output
    from ..pretext.measuring import evaluate_pretext
    from ..pretext.report import pretext_report
    from ..pretraining.run import cohort_of, load_pretrained

    if options.data is None or options.output is None:
        raise UsageError(
            "A pre-training is assessed on patients that it has not seen: give --data MANIFEST|CACHE and --output DIR.",
            "no-data",
        )
    make_output(options.output)
    pretrained = load_pretrained(folder)
    with TerminalLine(options.quiet, "Cutting") as counter:
        cohort = join([Source(options.data).open(options.output / "caches", home(), counter)])
    training = None
    with contextlib.suppress(InputError):  # its data are gone: the rows that need them say so
        training = cohort_of(pretrained, home())
    return pretext_report(evaluate_pretext(pretrained, cohort, options.output, chosen_device(options.device), training))


def _export(options: argparse.Namespace) -> None:
    from MAEMCLib.models.card import name_problem

    from ..characteristics.members import told_line
    from ..classifiers.export import export, read_card_texts

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
    if problem := name_problem(texts["id"], texts["version"]):
        raise UsageError(f"A model cannot be called so: its {problem}. Choose another --id or --version.", "card")
    bundle = export(options.job, options.output, texts, options.precision)
    if not bundle.card.members("decoder") and bundle.card.fusion != "graph":
        missing = [note for note in bundle.card.values.get("notes", []) if "autoencoder" in note]
        print(*missing or ["The model has no autoencoder, and reconstructs no region."], sep="\n", file=sys.stderr)
    if not options.quiet:
        print(f"{bundle.card.id} {bundle.card.version}, verified, SHA-256 {bundle.card.sha256}", file=sys.stderr)
        if line := told_line(bundle.card.values):
            print(line, file=sys.stderr)
    print(options.output)
