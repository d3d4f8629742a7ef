"""The command line ``maemc-train``: from CT and a manifest to a model bundle."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.errors import MAEMCError, UsageError
from MAEMCLib.model_store import home

from .configuration import PRESETS

# torch and SimpleITK take seconds to import: each command imports what it needs when it runs.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 2 wrong usage, 3 unusable input, 4 unusable model, 130 stopped, 1 a defect of ours.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse takes positionals from one place only; KEY=VALUE may stand anywhere.
    if wrong := [word for word in rest if word.startswith("-") or "=" not in word or "overrides" not in options]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if "overrides" in options:
        options.overrides += rest
    options.typed = shlex.join(["maemc-train", *arguments])
    try:
        return options.run(options) or 0
    except MAEMCError as error:
        print(f"maemc-train: {error}", file=sys.stderr)
        if options.verbose:
            traceback.print_exc()
        return error.exit_code
    except KeyboardInterrupt:
        print("maemc-train: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, for example head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.verbose:
            traceback.print_exc()
        text = f"unexpected {type(error).__name__}: {error}"
        print(f"maemc-train: {text}. Run again with --verbose and report what it prints.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "maemc-train",
        description="Prepare data, train and evaluate models for pulmonary nodules, and export them for scoring.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(commands, "phantom", _phantom, "write synthetic CTs with nodules, and their manifest")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--cases", type=int, required=True, metavar="N")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--grade", choices=("matched", "easy"), default="matched")
    command.add_argument("--dicom", action="store_true", help="complete CT series instead of NRRD, one of them oblique")
    command.add_argument("--processes", type=int, default=os.cpu_count() or 1)

    command = _command(commands, "sample-chest", _sample_chest, "write a synthetic chest CT and points on its nodules")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")

    command = _command(commands, "import", _import, "make a manifest of a data set as it is distributed")
    command.add_argument("kind", choices=("lidc-cubes",))
    command.add_argument("source", type=Path, metavar="SOURCE")
    command.add_argument("--output", type=Path, required=True, metavar="MANIFEST")

    command = _command(commands, "cache", _cache, "cut the regions of all nodules, ready for training")
    command.add_argument("manifest", type=Path, metavar="MANIFEST")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--slice-step", type=int, default=1, metavar="MM", help="distance between slices (default 1)")
    command.add_argument("--processes", type=int, default=os.cpu_count() or 1)

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

    command = _command(commands, "export", _export, "write the bundle of a fine-tuning job")
    command.add_argument("job", type=Path, metavar="JOB")
    command.add_argument("--output", type=Path, required=True, metavar="MODEL.maemc")
    command.add_argument("--card", type=Path, metavar="TOML", help="texts of the card: id, version, title, licence ...")
    command.add_argument("--id", help="instead of --card")
    command.add_argument("--version", default="1.0")
    command.add_argument("--title")

    jobs = commands.add_parser("jobs", help="list and show jobs")
    actions = jobs.add_subparsers(required=True, metavar="ACTION")
    _command(actions, "list", _jobs_list, "the jobs started here, also those of closed terminals")
    command = _command(actions, "show", _jobs_show, "where one job stands")
    command.add_argument("job", type=Path, metavar="JOB")
    return parser


def _command(commands: Any, name: str, run: Callable, summary: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("--quiet", action="store_true", help="no progress, errors only")
    command.add_argument("--verbose", action="store_true", help="show where an error came from")
    return command


def _training(commands: Any, name: str, run: Callable, summary: str) -> argparse.ArgumentParser:
    command = _command(commands, name, run, summary)
    command.add_argument("--data", type=Path, action="append", default=[], metavar="MANIFEST|CACHE", help="repeatable")
    command.add_argument("--output", type=Path, required=True, metavar="JOB", help="folder of the job")
    command.add_argument("--preset", choices=PRESETS, default="default")
    command.add_argument("--device", default="auto")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (bit-identical runs need the same)"
    )
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="any setting, e.g. epochs=6")
    return command


def _phantom(options: argparse.Namespace) -> None:
    from .data.phantom import write_phantom

    with _Counter("Drawing", options.quiet) as counter:
        manifest = write_phantom(
            options.output,
            options.cases,
            options.seed,
            options.grade,
            options.dicom,
            processes=options.processes,
            progress=counter,
        )
    print(manifest)


def _sample_chest(options: argparse.Namespace) -> None:
    from .data.sample_chest import write_sample_chest

    for path in write_sample_chest(options.output):
        print(path)


def _import(options: argparse.Namespace) -> None:
    from MAEMCLib.manifest import read_manifest, write_manifest

    from .data.lidc_cubes import lidc_cubes_rows

    write_manifest(options.output, lidc_cubes_rows(options.source))
    counts = read_manifest(options.output).counts()
    if not options.quiet:
        print(", ".join(f"{number} {name}" for name, number in counts.items()), file=sys.stderr)
    print(options.output)


def _cache(options: argparse.Namespace) -> None:
    from MAEMCLib.manifest import read_manifest

    from .data.cache import build_cache
    from .data.sources import source_cases

    if options.slice_step < 1:
        raise UsageError(f"--slice-step is {options.slice_step}; it has to be a whole number of mm from 1.")
    cases = source_cases(read_manifest(options.manifest))
    with _Counter("Cutting", options.quiet) as counter:
        cache = build_cache(
            cases, options.output, home(), options.slice_step, processes=options.processes, progress=counter
        )
    for skipped in cache.left_out:
        print(f"left out {skipped['case_id']}: {skipped['reason']}", file=sys.stderr)
    if not options.quiet:
        padded = sum(case.padded_fraction > 0 for case in cache.cases)
        margin = sum(case.margin_padded > 0 for case in cache.cases)
        print(
            f"{len(cache.cases)} cases cached, {len(cache.left_out)} left out; {padded} reach beyond their volume, "
            f"{margin} when they are shifted by up to 5 mm (padded with -1200 HU).",
            file=sys.stderr,
        )
    print(options.output)


def _pretrain(options: argparse.Namespace) -> None:
    from .configuration import override, pretraining_preset
    from .data.cohort import join
    from .pretraining import method_named
    from .pretraining.run import pretrain

    method = method_named(options.method)
    run = override(pretraining_preset(options.preset, options.method, method.Configuration()), options.overrides)
    caches, data = _open_all(options, options.data, "all")
    unlabeled, more = _open_all(options, options.unlabeled_data, "patients without a label")
    cohort = join(caches, unlabeled)
    pretrain(cohort, run, options.output, home(), _device(options), data + more, options.typed, options.quiet)
    print(options.output)


def _finetune(options: argparse.Namespace) -> None:
    from .configuration import finetuning_preset, override
    from .data.cohort import join
    from .finetuning import finetune, labeled
    from .pretraining.run import load_pretrained

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
    from .data.sources import open_data

    if not options.data and not getattr(options, "unlabeled_data", None):
        raise UsageError("Say what to train on: --data with a manifest or a cache.", "no-data")
    caches = []
    for path in paths:
        with _Counter("Cutting", options.quiet) as counter:
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
    from .export import export, read_card_texts

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


def _jobs_list(options: argparse.Namespace) -> None:
    from .jobs import known_jobs, read_state

    jobs = known_jobs(home())
    if not jobs and not options.quiet:
        print("No jobs yet. maemc-train pretrain starts one.", file=sys.stderr)
    for job in jobs:
        state = read_state(job.folder)
        print(f"{job.status:<9} {job.settings['kind']:<9} {_share(state):>6}  {state.get('updated', '')}  {job.folder}")


def _jobs_show(options: argparse.Namespace) -> None:
    from .jobs import Job, read_state

    job = Job(options.job)
    settings, state = job.settings, read_state(options.job)
    print(
        f"{job.folder}: {settings['kind']}, {job.status}, {_share(state)} of the steps, updated {state.get('updated')}"
    )
    if state.get("message"):
        print(state["message"])
    print(settings.get("command", ""))


def _share(state: dict[str, Any]) -> str:
    if not state.get("steps"):
        return "-"
    done = (state.get("fold", 0) + state["step"] / state["steps"]) / state.get("folds", 1)
    return f"{100 * (1.0 if state.get('status') == 'finished' else done):.0f} %"


class _Counter:
    """A count of cases on standard error, renewed in place on a terminal."""

    def __init__(self, what: str, quiet: bool) -> None:
        self.what, self.shown = what, False
        self.live = not quiet and sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        if self.live:
            self.shown = True
            print(f"\r{self.what} case {done} of {total}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
