"""Commands that train: ``pretrain`` and ``finetune``."""

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
    from MAEMCLib.networks.encoders import AnyEncoderConfiguration

    from ..classifiers.starting_point import StartingPoint
    from ..data.sources import Source
    from ..engine.configuration import FinetuningConfiguration


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
    command.add_argument("--linear-probe", action="store_true", help="fit the linear layer alone, on a frozen encoder")


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
    with _running(options, "pretrain") as (job, stop, device, processes):
        with naming_nobody([*options.data, *options.unlabeled_data]):
            caches, data = _open_all(options, sources, ALL_PATIENTS, job, stop, processes)
            unlabeled, more = _open_all(options, unlabeled_sources, UNLABELED_PATIENTS, job, stop, processes)
            cohort = join(caches, unlabeled)
        pretrain(cohort, run, job, device, data + more, stop, processes)
    _show_result(options, processes)


def _finetune(options: argparse.Namespace) -> None:
    from ..classifiers.finetuning import finetune
    from ..data.cohort import join, labeled
    from ..data.sources import check_folds, naming_nobody
    from ..engine.configuration import finetuning_preset, override
    from ..evaluation.report import evaluate_job

    sources = _sources(options.data)
    flat = _flat(sources)
    folds = fold_words(options)
    probe = ["linear_probe=true"] if options.linear_probe else []

    def settings(start: StartingPoint | None, encoder: AnyEncoderConfiguration | None) -> FinetuningConfiguration:
        run = finetuning_preset(options.preset, encoder, flat, options.backbone)
        if start is not None and start.flat and flat:  # what the encoder has seen, it goes on seeing
            view = replace(run.augmentation, view_share=start.preprocessing.view_share)
            run = replace(run, augmentation=view)
        return override(run, [*folds, *probe, *options.overrides])

    run, start = _start(options, settings, flat)
    check_timm(run)
    with _running(options, "finetune") as (job, stop, device, processes):
        with naming_nobody(options.data):
            check_folds(run.folds, run.folds_from, sources)
            caches, data = _open_all(options, sources, "labeled cases", job, stop, processes)
            cohort = labeled(join(caches))
        trained = finetune(cohort, run, job, home(), device, data, start, stop, options.protocol, processes)
        found = evaluate_job(trained) if trained else None
    if found is not None:
        show_evaluation(found, options.quiet)
    _show_result(options, processes)


def fold_words(options: argparse.Namespace) -> list[str]:
    """``--folds`` and ``--folds-from`` as settings. Raises UsageError for both."""
    if options.folds is not None and options.folds_from is not None:
        raise UsageError("--folds-from says how many folds there are. Leave --folds out.", "folds")
    words = [] if options.folds is None else [f"folds={options.folds}"]
    return words + ([] if options.folds_from is None else [f"folds_from={options.folds_from}"])


def _show_result(options: argparse.Namespace, processes: Any) -> None:
    from ..jobs.launching import is_detached

    if processes.leads and not is_detached():  # what a detached run prints stays in its job's folder
        print(options.output)


def check_timm(run: Any) -> None:
    """Raises UsageError where timm, which makes published backbones and large-batch optimizers, is needed and missing:
    before the first region is cut."""
    from MAEMCLib.networks.configuration import BackboneConfiguration

    if isinstance(run.encoder, BackboneConfiguration) or run.optimization.optimizer in ("lars", "lamb"):
        check_packages("timm")


def _start(options: argparse.Namespace, settings: Callable[[Any, Any], Any], flat: bool) -> tuple[Any, Any]:
    """The configuration of a fine-tuning and its ``StartingPoint``, None from scratch.

    settings: from the starting point that is known already and the encoder to use, both None from scratch, to the
    configuration. Raises UsageError where words do not go together.
    """
    from ..classifiers.starting_point import IMAGENET, from_imagenet, starting_point
    from ..engine.configuration import encoder_named

    published = options.start == IMAGENET
    if options.weights is not None and not published:
        raise UsageError("--weights is the file of --from imagenet. Leave it out.", "weights")
    if published:
        check_packages("timm")
    start = starting_point(options.start)
    if start is None:
        # With settings of its own a backbone may differ from the named one, so the weights come after them.
        encoder = encoder_named(options.backbone or "resnet18", flat, options.preset == "tiny") if published else None
        run = settings(None, encoder)
        return run, from_imagenet(run.encoder, options.weights) if published else None
    if options.backbone:
        raise UsageError(f"The encoder comes from {start.name}. Leave --backbone out.", "encoder")
    run = settings(start, start.encoder)
    if run.encoder != start.encoder:
        raise UsageError(f"The encoder's settings come from {start.name} and cannot be changed here.", "encoder")
    return run, start


@contextlib.contextmanager
def _running(options: argparse.Namespace, kind: str) -> Iterator[tuple[Any, Any, Any, Any]]:
    """The opened job, the stop request, the device and the processes of one run."""
    from ..engine.processes import joined, launched
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
                job = Job(options.output, leads=False)
        yield job, stop, device, processes


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
    options: argparse.Namespace, sources: Sequence[Source], takes: str, job: Any, stop: Any, processes: Any
) -> tuple[list, list[dict[str, str]]]:
    caches = []
    for source in sources:
        # The leader cuts; the others find all of it there.
        with processes.leader_first(), Counter("Cutting", options.quiet or not processes.leads) as counter:

            def progress(done: int, total: int, counter: Counter = counter) -> None:
                counter(done, total)
                job.prepare("Cutting regions", done, total, stop)

            caches.append(source.open(options.output / "caches", home(), progress))
        for skipped in caches[-1].left_out if processes.leads else ():
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
