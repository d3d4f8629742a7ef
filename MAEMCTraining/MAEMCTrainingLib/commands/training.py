"""Commands that train: ``pretrain``, ``finetune`` and ``fuse``."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.home import home
from MAEMCLib.machine.installation import check_packages

from ..engine.configuration import PRESETS
from . import TRAINING, Counter, add_command
from .evaluation import show_evaluation

if TYPE_CHECKING:
    from ..classifiers.cases import LabeledCohort
    from ..classifiers.presets import ClassifierConfiguration
    from ..classifiers.starting_point import StartingPoint
    from ..classifiers.values import Columns
    from ..data.sources import Source
    from ..engine.session import Session


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    command = _training(commands, "pretrain", _pretrain, "pre-train an encoder without labels")
    command.add_argument("--method", default="maemc", metavar="NAME", help="maemc-train methods lists them")
    command.add_argument(
        "--unlabeled-data",
        type=Path,
        action="append",
        default=[],
        metavar="MANIFEST|CACHE",
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

    command = _training(commands, "finetune", _finetune, "train and evaluate a classifier in folds by patient")
    add_starting_point(command, required=True)
    _add_target(command)

    command = _training(commands, "fuse", _fuse, "train images and clinical values together, for any number of classes")
    add_columns(command)
    add_starting_point(command, default="scratch")


def add_starting_point(command: argparse.ArgumentParser, **start: Any) -> None:
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
    command.add_argument("--data", type=Path, action="append", default=[], metavar="MANIFEST|CACHE", help="repeatable")
    command.add_argument("--output", type=Path, required=True, metavar="JOB", help="folder of the job")
    command.add_argument("--preset", choices=PRESETS, default="default")
    command.add_argument(
        "--backbone", metavar="NAME", help="another encoder than the method's own, or what to train from scratch"
    )
    command.add_argument("--device", default="auto")
    command.add_argument("--detach", action="store_true", help="run on after this terminal is closed; see jobs watch")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (bit-identical runs need the same)"
    )
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="any setting, e.g. epochs=6")
    return command


def _detach(options: argparse.Namespace) -> None:
    from ..jobs.launching import launch

    launch([word for word in options.arguments if word != "--detach"], options.output, home())
    print(f"Started. maemc-train jobs watch {shlex.quote(str(options.output))} follows it.", file=sys.stderr)
    print(options.output)


def _pretrain(options: argparse.Namespace) -> None:
    from ..data.cohort import join
    from ..data.sources import naming_nobody
    from ..engine.configuration import override
    from ..pretraining.presets import pretraining_preset, read_settings
    from ..pretraining.run import ALL_PATIENTS, UNLABELED_PATIENTS, pretrain

    sources, unlabeled_sources = _sources(options.data), _sources(options.unlabeled_data)
    kind = "picture" if _flat([*sources, *unlabeled_sources]) else "nodule"
    run = pretraining_preset(options.preset, options.method, kind, options.backbone)
    words = read_settings(options.config) if options.config else []
    if options.min_visible_lesion is not None:
        words.append(f"min_visible_lesion={options.min_visible_lesion}")
    run = override(run, [*words, *options.overrides])
    check_timm(run)
    with _running(options, "pretrain") as session:
        with naming_nobody([*options.data, *options.unlabeled_data]):
            caches, data = _open_all(options, sources, ALL_PATIENTS, session)
            unlabeled, more = _open_all(options, unlabeled_sources, UNLABELED_PATIENTS, session)
            cohort = join(caches, unlabeled)
        pretrain(cohort, run, session, data + more)
    _show_result(options, session)


def _finetune(options: argparse.Namespace) -> None:
    from ..classifiers.presets import finetuning_preset
    from ..classifiers.values import Columns

    _classify(options, "finetune", finetuning_preset, Columns(target=options.target or "label"))


def _fuse(options: argparse.Namespace) -> None:
    from ..classifiers.presets import fusion_preset
    from ..classifiers.values import Columns

    columns = Columns(_split(options.clinical), _split([options.branches or ""]), options.target or "label")
    _classify(options, "fuse", fusion_preset, columns)


def _split(texts: list[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _classify(options: argparse.Namespace, kind: str, preset: Callable[..., Any], columns: Columns) -> None:
    """Train a classifier in folds and evaluate it. preset: of its kind's configuration."""
    from ..classifiers.run import train_folds
    from ..classifiers.values import check_columns
    from ..data.sources import naming_nobody
    from ..evaluation.report import evaluate_job

    sources = _sources(options.data)
    flat = _flat(sources)
    check_columns(sources, columns)
    run, start = _start(options, preset, flat)
    check_timm(run)
    with _running(options, kind) as session:
        with naming_nobody(options.data):
            cohort, data = _cases(options, sources, run, replace(columns, positive=run.positive), session)
        trained = train_folds(cohort, run, session, data, start, options.protocol)
        found = evaluate_job(trained) if trained else None
    if found is not None:
        show_evaluation(found, options.quiet)
    _show_result(options, session)


def _cases(
    options: argparse.Namespace,
    sources: Sequence[Source],
    run: ClassifierConfiguration,
    columns: Columns,
    session: Session,
) -> tuple[LabeledCohort, list[dict[str, str]]]:
    """The cases with a class, and how they were put together. The leader cuts; the others find all of it there."""
    from ..classifiers.values import read_cases
    from ..data.sources import check_folds

    check_folds(run.folds, run.folds_from, sources)
    caches, data = _open_all(options, sources, "labeled cases", session)
    leads, say = session.processes.leads, session.job.log
    with session.processes.leader_first(), Counter("Cutting", options.quiet or not leads) as counter:
        folder = options.output / "caches"
        return read_cases(caches, sources, columns, folder, home(), counter, say), data


def _run_words(options: argparse.Namespace) -> list[str]:
    """``--folds``, ``--folds-from`` and ``--linear-probe`` as settings. Raises UsageError for both of the first."""
    if options.folds is not None and options.folds_from is not None:
        raise UsageError("--folds-from says how many folds there are. Leave --folds out.", "folds")
    words = [] if options.folds is None else [f"folds={options.folds}"]
    words += [] if options.folds_from is None else [f"folds_from={options.folds_from}"]
    return words + (["linear_probe=true"] if options.linear_probe else [])


def _show_result(options: argparse.Namespace, session: Session) -> None:
    from ..jobs.launching import is_detached

    if session.processes.leads and not is_detached():  # what a detached run prints stays in its job's folder
        print(options.output)


def check_timm(run: Any) -> None:
    """Raises UsageError where timm, which makes published backbones and large-batch optimizers, is needed and missing:
    before the first region is cut."""
    from MAEMCLib.networks.configuration import BackboneConfiguration

    if isinstance(run.encoder, BackboneConfiguration) or run.optimization.optimizer in ("lars", "lamb"):
        check_packages("timm")


def _start(
    options: argparse.Namespace, preset: Callable[..., Any], flat: bool
) -> tuple[ClassifierConfiguration, StartingPoint | None]:
    """The configuration of a classifier's training and its ``StartingPoint``, None from scratch.

    Raises UsageError where words do not go together.
    """
    from ..classifiers.starting_point import IMAGENET, from_imagenet, starting_point
    from ..engine.configuration import encoder_named, override

    published = options.start == IMAGENET
    if options.weights is not None and not published:
        raise UsageError("--weights is the file of --from imagenet. Leave it out.", "weights")
    if published:
        check_packages("timm")
    start = starting_point(options.start)
    if start is not None and options.backbone:
        raise UsageError(f"The encoder comes from {start.name}. Leave --backbone out.", "encoder")
    encoder = start.encoder if start else None
    if published:
        encoder = encoder_named(options.backbone or "resnet18", flat, options.preset == "tiny")
    run = preset(options.preset, encoder, flat, options.backbone)
    if start is not None and start.flat and flat:  # what the encoder has seen, it goes on seeing
        run = replace(run, augmentation=replace(run.augmentation, view_share=start.preprocessing.view_share))
    run = override(run, [*_run_words(options), *options.overrides])
    if start is not None and run.encoder != start.encoder:
        raise UsageError(f"The encoder's settings come from {start.name} and cannot be changed here.", "encoder")
    # With settings of its own a backbone may differ from the named one, so the published weights come after them.
    return run, from_imagenet(run.encoder, options.weights) if published else start


@contextlib.contextmanager
def _running(options: argparse.Namespace, kind: str) -> Iterator[Session]:
    """What one run happens in, with its job opened."""
    from ..engine.processes import joined, launched
    from ..engine.session import Session
    from ..jobs.job import Job, command_line, open_job
    from ..jobs.stopping import StopRequest

    processes = launched()
    device = _device(options, processes)
    with contextlib.ExitStack() as stack:
        stack.enter_context(joined(processes, device))
        stop = stack.enter_context(StopRequest().listening())
        with processes.leader_first():
            if processes.leads:
                command = command_line(options.arguments)
                job = stack.enter_context(open_job(options.output, kind, command, home(), stop))
            else:
                job = Job(options.output, leads=False, home=home())
        yield Session(job, device, stop, processes)


def _sources(paths: Sequence[Path]) -> list[Source]:
    from ..data.sources import Source

    return [Source(path) for path in paths]


def _flat(sources: Sequence[Source]) -> bool:
    """Whether the data are 2-D pictures, which decides on the preset. Raises UsageError where no data are named.

    Data that cannot be read are refused when they are opened, inside the job, which then has the reason.
    """
    if not sources:
        raise UsageError("Say what to train on: --data with a manifest or a cache.", "no-data")
    kinds = set()
    for source in sources:
        with contextlib.suppress(InputError):
            kinds.add(source.kind.name)
    return kinds == {"picture"}


def _open_all(
    options: argparse.Namespace, sources: Sequence[Source], takes: str, session: Session
) -> tuple[list, list[dict[str, str]]]:
    caches, leads = [], session.processes.leads
    for source in sources:
        # The leader cuts; the others find all of it there.
        with session.processes.leader_first(), Counter("Cutting", options.quiet or not leads) as counter:

            def progress(done: int, total: int, counter: Counter = counter) -> None:
                counter(done, total)
                session.job.prepare("Cutting regions", done, total, session.stop)

            caches.append(source.open(options.output / "caches", home(), progress))
        for skipped in caches[-1].left_out if leads else ():
            print(f"left out {_left_out(skipped)}", file=sys.stderr)
    return caches, [{"path": str(path.resolve()), "takes": takes} for path in (source.path for source in sources)]


def _left_out(skipped: dict[str, Any]) -> str:
    from ..jobs.launching import is_detached

    if is_detached():  # what it prints stays in its job's folder, which names nobody
        return f"row {skipped['row']}: {skipped['code']}; maemc-train cache says more"
    return f"{skipped['case_id']}: {skipped['reason']}"


def _device(options: argparse.Namespace, processes: Any) -> Any:
    import torch
    from MAEMCLib.machine.device import choose_device

    if options.threads is not None:
        if options.threads < 1:
            raise UsageError(f"--threads is {options.threads}; it has to be at least 1.")
        torch.set_num_threads(options.threads)
    asked = options.device
    if processes.several and asked in ("auto", "cuda") and torch.cuda.is_available():
        asked = f"cuda:{processes.local_rank % torch.cuda.device_count()}"
    return torch.device(choose_device(asked).name)
