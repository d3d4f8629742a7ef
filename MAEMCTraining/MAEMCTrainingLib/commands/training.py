"""Commands that train: ``pretrain``, ``finetune`` and ``fuse``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import home
from MAEMCLib.machine.installation import check_packages

from ..classifiers.cases import LABEL
from ..classifiers.presets import FINETUNING_PRESETS, FUSION_PRESETS, finetuning_preset, fusion_preset
from ..data.cohort import join
from ..data.kinds import KINDS
from ..data.sources import Source, check_folds, naming_nobody
from ..engine.configuration import PRESETS, encoder_named, override
from ..jobs.job import Job, open_job
from ..jobs.launching import launch
from ..jobs.progress import Preparation
from ..jobs.stopping import StopRequest
from ..pretraining.presets import pretraining_preset, read_settings
from . import TRAINING, add_command, add_data, add_machine, add_output, show

if TYPE_CHECKING:
    from ..classifiers.presets import ClassifierConfiguration
    from ..classifiers.starting_point import StartingPoint
    from ..engine.session import Session


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    command = _training(commands, "pretrain", _pretrain, "pre-train an encoder without labels")
    command.add_argument("--method", default="maemc", metavar="NAME", help="maemc-train methods lists them")
    add_data(
        command,
        "--unlabeled-data",
        help="takes only patients without any labeled case, so that evaluating the others stays honest",
    )
    command.add_argument(
        "--min-visible-lesion",
        metavar="SHARE",
        help="of a lesion's patches that stay visible; needs the manifest's column mask (pictures of the lesions)",
    )
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="settings, as a preset in the file of a method holds them; KEY=VALUE goes before them",
    )

    finetune, fuse = (partial(_classify, kind) for kind in ("finetune", "fuse"))
    command = _training(commands, "finetune", finetune, "train and evaluate a classifier in folds by patient")
    _add_starting_point(command, required=True)
    _add_target(command)
    command.set_defaults(clinical=[], branches=None)

    command = _training(commands, "fuse", fuse, "train images and clinical values together, for any number of classes")
    add_columns(command)
    _add_starting_point(command, default="scratch")


def _add_starting_point(command: argparse.ArgumentParser, **start: Any) -> None:
    """What all commands that fine-tune in folds take: ``--from``, ``--weights``, ``--folds``, ``--protocol``."""
    command.add_argument(
        "--from",
        dest="start",
        metavar="JOB|BUNDLE|scratch|imagenet",
        help="what the encoder has learned before: a pre-training job, a model bundle, nothing, or ImageNet",
        **start,
    )
    command.add_argument("--weights", type=Path, metavar="FILE", help="of --from imagenet; nothing is fetched")
    command.add_argument("--folds", type=int, metavar="N")
    command.add_argument(
        "--folds-from", metavar="COLUMN", help="of the manifest, which names the fold of each case, instead of --folds"
    )
    command.add_argument(
        "--protocol",
        choices=("honest", "paper"),
        default="honest",
        help="honest: a pre-training that saw patients tested here is repeated in each fold without them; "
        "paper: it is used as it is, and the report is marked as leaky",
    )
    command.add_argument("--linear-probe", action="store_true", help="train the head alone, on a frozen encoder")


def add_columns(command: argparse.ArgumentParser) -> None:
    """The options that say what is fused, and which class is learned."""
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
    _add_target(command)


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("--target", metavar="COLUMN", help="the class to be told (default: label)")


def column_words(options: argparse.Namespace) -> list[str]:
    """What was given of ``add_columns``, as it is typed."""
    words = [word for text in options.clinical for word in ("--clinical", text)]
    words += ["--branches", options.branches] if options.branches else []
    return [*words, *(["--target", options.target] if options.target else [])]


def _training(commands: Any, name: str, run: Callable, summary: str) -> argparse.ArgumentParser:
    def here_or_detached(options: argparse.Namespace) -> None:
        (_detach if options.detach else run)(options)

    command = add_command(commands, name, here_or_detached, summary, TRAINING)
    add_data(command, help="repeatable")
    add_output(command, "JOB", help="folder of the job")
    # All names are read, as commands of before have them; those that mean something of their own are shown.
    shown = {"finetune": FINETUNING_PRESETS, "fuse": FUSION_PRESETS}.get(name, PRESETS)
    command.add_argument("--preset", choices=PRESETS, default="default", metavar="|".join(shown))
    command.add_argument(
        "--backbone", metavar="NAME", help="another encoder than the method's own, or what to train from scratch"
    )
    add_machine(command)
    command.add_argument("--detach", action="store_true", help="run on after this terminal is closed; see jobs watch")
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="any setting, e.g. epochs=6")
    return command


def _detach(options: argparse.Namespace) -> None:
    launch([word for word in options.arguments if word != "--detach"], options.output, home())
    print(f"Started. maemc-train jobs watch {shlex.quote(str(options.output))} follows it.", file=sys.stderr)
    print(options.output)


def _pretrain(options: argparse.Namespace) -> None:
    from ..pretraining.run import ALL_PATIENTS, UNLABELED_PATIENTS, pretrain

    sources, unlabeled_sources = ([Source(path) for path in paths] for paths in (options.data, options.unlabeled_data))
    run = pretraining_preset(
        options.preset, options.method, kind_name([*sources, *unlabeled_sources]), options.backbone
    )
    words = read_settings(options.config) if options.config else []
    if options.min_visible_lesion is not None:
        words.append(f"min_visible_lesion={options.min_visible_lesion}")
    run = override(run, [*words, *options.overrides])
    _check_timm(run)
    with running(options, "pretrain", options.output) as session:
        with naming_nobody([*options.data, *options.unlabeled_data]):
            caches, data = _open_all(options, sources, ALL_PATIENTS, session)
            unlabeled, more = _open_all(options, unlabeled_sources, UNLABELED_PATIENTS, session)
            cohort = join(caches, unlabeled)
        pretrain(cohort, run, session, data + more)
    _show_result(options, session)


def _classify(kind: str, options: argparse.Namespace) -> None:
    """Train a classifier in folds and evaluate it. kind: of the job."""
    from ..classifiers.run import train_folds
    from ..classifiers.values import Columns, check_columns, read_cases
    from ..evaluation.page import evaluation_report
    from ..evaluation.report import evaluate_job

    sources = [Source(path) for path in options.data]
    input_kind = kind_name(sources)
    columns = Columns(_split(options.clinical), _split([options.branches or ""]), options.target or LABEL)
    check_columns(sources, columns)
    run, start = _start(options, kind, input_kind)
    columns = replace(columns, positive=run.positive)
    with running(options, kind, options.output) as session:
        with naming_nobody(options.data):
            check_folds(run.folds, run.folds_from, sources)
            caches, data = _open_all(options, sources, "labeled cases", session)
            with _leader_first(options, session) as progress:
                folder, say = options.output / "caches", session.job.log
                cohort = read_cases(caches, sources, columns, folder, home(), progress, say)
        trained = train_folds(cohort, run, session, data, start, options.protocol)
        found = evaluate_job(trained) if trained else None
    if found is not None and not options.quiet:
        show(evaluation_report(found))
    _show_result(options, session)


def _split(texts: list[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _show_result(options: argparse.Namespace, session: Session) -> None:
    if session.processes.leads and not options.detached:  # what a detached run prints stays in its job's folder
        print(options.output)


def _check_timm(run: Any) -> None:
    """Raises UsageError where timm, which makes published backbones and large-batch optimizers, is needed and missing:
    before the first region is cut."""
    from MAEMCLib.networks.configuration import BackboneConfiguration

    if isinstance(run.encoder, BackboneConfiguration) or run.optimization.optimizer in ("lars", "lamb"):
        check_packages("timm")


def _start(
    options: argparse.Namespace, kind: str, input_kind: str
) -> tuple[ClassifierConfiguration, StartingPoint | None]:
    """The configuration of a classifier's training and its ``StartingPoint``, None from scratch.

    Raises UsageError where words do not go together.
    """
    from ..classifiers.starting_point import IMAGENET, from_imagenet, starting_point

    published, pictures = options.start == IMAGENET, input_kind == "picture"
    if options.weights is not None and not published:
        raise UsageError("--weights is the file of --from imagenet. Leave it out.", "weights")
    if options.folds is not None and options.folds_from is not None:
        raise UsageError("--folds-from says how many folds there are. Leave --folds out.", "folds")
    start = starting_point(options.start)
    if start is not None and options.backbone:
        raise UsageError(f"The encoder comes from {start.name}. Leave --backbone out.", "encoder")
    encoder = start.encoder if start else None
    if published:
        encoder = encoder_named(options.backbone or "resnet18", pictures, options.preset == "tiny")
    preset = fusion_preset if kind == "fuse" else finetuning_preset
    run = preset(options.preset, encoder, input_kind, options.backbone)
    if (
        start is not None and pictures and start.kind is KINDS["picture"]
    ):  # what the encoder has seen, it goes on seeing
        run = replace(run, augmentation=replace(run.augmentation, view_share=start.preprocessing.view_share))
    settings = {"folds": options.folds, "folds_from": options.folds_from, "linear_probe": options.linear_probe or None}
    words = [f"{name}={value}" for name, value in settings.items() if value is not None]
    run = override(run, [*words, *options.overrides])
    if start is not None and run.encoder != start.encoder:
        raise UsageError(f"The encoder's settings come from {start.name} and cannot be changed here.", "encoder")
    _check_timm(run)
    # With settings of its own a backbone may differ from the named one, so the published weights come after them.
    return run, from_imagenet(run.encoder, options.weights) if published else start


@contextlib.contextmanager
def running(options: argparse.Namespace, kind: str, folder: Path) -> Iterator[Session]:
    """What one run happens in, with its job opened in a folder."""
    from ..engine.processes import chosen_device, joined, launched
    from ..engine.session import Session

    processes = launched()
    device = chosen_device(options.device, options.threads, processes)
    with contextlib.ExitStack() as stack:
        stack.enter_context(joined(processes, device))
        stop = stack.enter_context(StopRequest().listening())
        with processes.leader_first():
            if processes.leads:
                command = {"arguments": options.arguments, "directory": os.getcwd()}
                job = stack.enter_context(open_job(folder, kind, command, home(), stop))
            else:
                job = Job(folder, leads=False, home=home())
        yield Session(job, device, stop, processes)


def kind_name(sources: Sequence[Source]) -> str:
    """The kind of input of the data, which decides on the preset. Raises UsageError where no data are named.

    Data that cannot be read are refused when they are opened, inside the job, which then has the reason.
    """
    if not sources:
        raise UsageError("Say what to train on: --data with a manifest or a cache.", "no-data")
    names = set()
    for source in sources:
        with contextlib.suppress(InputError):
            names.add(source.kind.name)
    return names.pop() if len(names) == 1 else "nodule"


def _open_all(
    options: argparse.Namespace, sources: Sequence[Source], takes: str, session: Session
) -> tuple[list, list[dict[str, str]]]:
    caches = []
    for source in sources:
        with _leader_first(options, session) as progress:
            caches.append(source.open(options.output / "caches", home(), progress))
        for skipped in caches[-1].left_out if session.processes.leads else ():
            print(f"left out {_left_out(skipped, options.detached)}", file=sys.stderr)
    return caches, [{"path": str(source.path.resolve()), "takes": takes} for source in sources]


@contextlib.contextmanager
def _leader_first(options: argparse.Namespace, session: Session) -> Iterator[Preparation]:
    """The process that leads cuts and counts what it cuts; the others find all of it there."""
    processes = session.processes
    quiet = options.quiet or not processes.leads
    with processes.leader_first(), Preparation(quiet, session.job, session.stop) as progress:
        yield progress


def _left_out(skipped: dict[str, Any], detached: bool) -> str:
    if detached:  # what it prints stays in its job's folder, which names nobody
        return f"row {skipped['row']}: {skipped['code']}; maemc-train cache says more"
    return f"{skipped['case_id']}: {skipped['reason']}"
