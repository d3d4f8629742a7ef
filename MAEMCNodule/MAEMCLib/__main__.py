"""The command line ``maemc``: its arguments, its exit codes, its way of saying what went wrong.

Exit codes: 0 done; 2 wrong usage; 3 some input could not be scored; 4 a model cannot be trusted or loaded;
130 interrupted, 143 terminated; 1 the machine lacks something (PyTorch, memory), or a defect of this program.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    # Imports stand where they are used: Ctrl-C in the half second that they take ends as quietly as it does later.
    try:
        from .machine.terminal import harmless_printing, interruptible

        argv = sys.argv[1:] if argv is None else argv
        # The worker's owner ends it by SIGTERM, at once and in the midst of native code.
        with harmless_printing(), contextlib.nullcontext() if argv[:1] == ["serve"] else interruptible():
            return _run(argv)
    except KeyboardInterrupt as stopped:
        terminated = type(stopped) is not KeyboardInterrupt
        print(f"maemc: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        return 143 if terminated else 130


def _run(argv: list[str]) -> int:
    from .commands.command_line import run

    parser = build_parser(argv[0] if argv else "")
    return run("maemc", parser.parse_args(join_point_values(argv)))


def join_point_values(argv: list[str]) -> list[str]:
    """``--point -42,10,5`` -> ``--point=-42,10,5``: argparse takes a value that begins with a minus for an option."""
    joined: list[str] = []
    values = iter(argv)
    for text in values:
        following = next(values, None) if text in ("--point", "--prior-point") else None
        joined.append(text if following is None else f"{text}={following}")
    return joined


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of one command; for any other word that of all of them, with their options."""
    import argparse

    from . import __version__
    from .results import DISCLAIMER

    parser = argparse.ArgumentParser(
        prog="maemc", description=f"Malignancy scores for lung nodules in CT. {DISCLAIMER}", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"maemc {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for build in [_COMMANDS[command]] if command in _COMMANDS else _COMMANDS.values():
        build(subparsers)
    return parser


def _score(subparsers) -> None:
    from .commands.score import score

    command = _command(subparsers, "score", score, "score nodules of one CT, or a 2-D picture")
    _image(command)
    command.add_argument("--point", action="append", metavar="L,P,S", help="a nodule's position; repeat for more")
    command.add_argument(
        "--points", metavar="FILE", help="positions from a Slicer .mrk.json or a CSV id,l_mm,p_mm,s_mm"
    )
    command.add_argument("--ras", action="store_true", help="the positions given are RAS instead of LPS")
    _clinical(command)
    _model(command)
    command.add_argument(
        "--prevalence",
        type=float,
        metavar="P",
        help="share of malignant nodules where you are, such as 0.23: adjusted probabilities, PPV and NPV besides "
        "(models trained on diagnoses)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument(
        "--output", metavar="DIR", help="also write tables, report (HTML and PDF), overlays and pictures there"
    )
    command.add_argument(
        "--patient", metavar="TEXT", help="as the report names the patient; without it nobody is named"
    )
    _dicom(command, "below --output")
    command.add_argument(
        "--segment", metavar="FILE", help="the nodules' outline for --dicom-sr: NRRD, NIfTI or MetaImage, 0 outside"
    )


def _batch(subparsers) -> None:
    from .commands.batch import batch

    command = _command(subparsers, "batch", batch, "score the nodules or pictures of a manifest into a CSV")
    command.add_argument("manifest", help="CSV: case_id,patient_id,image,l_mm,p_mm,s_mm; of pictures without the point")
    command.add_argument("--output", required=True, metavar="CSV", help="results; an unfinished file is continued")
    command.add_argument("--processes", type=int, default=1, metavar="N", help="images scored at the same time")
    _nifti_form(command)
    _model(command)
    _dicom(command, "in RESULTS-dicom beside --output RESULTS.csv; outlines from the manifest's column segment")


def _roi(subparsers) -> None:
    from .commands.roi import roi

    command = _command(subparsers, "roi", roi, "write the region that a model sees")
    _image(command)
    _one_point(command)
    command.add_argument("--output", required=True, metavar="DIR")


def _explain(subparsers) -> None:
    from .commands.score import explain

    command = _command(subparsers, "explain", explain, "write reconstruction, error and attention maps")
    _image(command)
    _one_point(command, required=False)
    _clinical(command)
    _model(command)
    command.add_argument("--output", required=True, metavar="DIR")


def _models(subparsers) -> None:
    from .commands import models as model_commands

    models = subparsers.add_parser("models", help="list, check, import and remove models", allow_abbrev=False)
    actions = models.add_subparsers(title="actions", required=True, metavar="ACTION")
    command = _command(actions, "list", model_commands.models_list, "models on this machine")
    command.add_argument("--json", action="store_true")
    command = _command(actions, "show", model_commands.models_show, "a model's card")
    command.add_argument("reference", nargs="?", metavar="ID|PATH")
    command.add_argument("--json", action="store_true")
    command = _command(
        actions,
        "verify",
        model_commands.models_verify,
        "compare every file with its SHA-256, and compute the reference case",
    )
    command.add_argument("reference", nargs="?", metavar="ID|PATH")
    command = _command(actions, "import", model_commands.models_import, "copy a verified bundle to this user's models")
    command.add_argument("file", metavar="FILE", help="a .maemc file or a bundle's folder")
    command.add_argument(
        "--sha256",
        metavar="HASH",
        help="of its card, as its source states it: needed where its id is known here already",
    )
    command = _command(actions, "export", model_commands.models_export, "write a model as a .maemc file or folder")
    command.add_argument("reference", metavar="ID|PATH")
    command.add_argument("--output", required=True, metavar="FILE")
    command = _command(actions, "remove", model_commands.models_remove, "delete an imported model")
    command.add_argument("reference", metavar="ID")


def _measure(subparsers) -> None:
    from .commands.measure import add_options, measure_command

    add_options(_command(subparsers, "measure", measure_command, "outline and measure a nodule, without a score"))


def _growth(subparsers) -> None:
    from .commands.growth import add_options, growth_command

    add_options(_command(subparsers, "growth", growth_command, "compare a nodule with itself in a prior CT"))


def _risk(subparsers) -> None:
    from .commands.risk import add_scores

    scores = subparsers.add_parser("risk", help="clinical scores: Brock, Lung-RADS, Fleischner ...", allow_abbrev=False)
    add_scores(scores.add_subparsers(title="scores", required=True, metavar="SCORE"), _command)


def _reviews(subparsers) -> None:
    from .commands import review as review_commands
    from .review.review import ACCEPTED, OUTCOMES, REJECTED

    review = subparsers.add_parser("review", help="decisions, outcomes, local calibration", allow_abbrev=False)
    actions = review.add_subparsers(title="actions", required=True, metavar="ACTION")
    _command(actions, "list", review_commands.review_list, "what the audit log knows, a row a nodule")
    for name, decision in (("accept", ACCEPTED), ("reject", REJECTED)):
        command = _command(actions, name, review_commands.review_decide, f"{name} the number that was shown last")
        command.set_defaults(decision=decision)
        command.add_argument("nodule", metavar="NODULE", help="as `maemc review list` names it")
        command.add_argument("--observer", metavar="NAME", help="who decides, from now on; asked for once")
        command.add_argument("--organization", metavar="NAME", help="where they work")
    command = _command(actions, "outcome", review_commands.review_outcome, "enter what a nodule turned out to be")
    command.add_argument("nodule", metavar="NODULE", help="as `maemc review list` names it")
    command.add_argument("outcome", choices=OUTCOMES)
    command.add_argument("--date", metavar="YYYY-MM-DD", help="of the diagnosis")
    command = _command(
        actions, "calibration", review_commands.review_calibration, "draw reader and model against outcomes"
    )
    command.add_argument("--model", metavar="ID|PATH", help="default: the model shipped with MAEMC")
    command.add_argument("--output", required=True, metavar="PNG")


def _device(subparsers) -> None:
    from .commands.device import device

    command = _command(subparsers, "device", device, "show which processor is used, and why")
    command.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N|mps")
    command.add_argument("--json", action="store_true")


def _serve(subparsers) -> None:
    from .worker.server import main as serve

    _command(subparsers, "serve", lambda _: serve(), "the worker that Slicer talks to, over stdin and stdout")


_COMMANDS = {
    "score": _score,
    "batch": _batch,
    "roi": _roi,
    "explain": _explain,
    "measure": _measure,
    "growth": _growth,
    "models": _models,
    "review": _reviews,
    "risk": _risk,
    "device": _device,
    "serve": _serve,
}


def _command(subparsers, name: str, run, text: str) -> argparse.ArgumentParser:
    command = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    command.set_defaults(run=run, needs=())
    command.add_argument("--quiet", action="store_true", help="print errors only")
    command.add_argument("--verbose", action="store_true", help="say more, and where an error came from")
    return command


def _image(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "image",
        help="CT as NRRD, NIfTI, MetaImage or a folder of DICOM files; for a model of pictures PNG, JPEG, DICOM",
    )
    command.add_argument(
        "--series", metavar="UID[#N]", help="series of a DICOM folder that holds several, and which of its stacks"
    )
    _nifti_form(command)


def _clinical(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--clinical",
        action="append",
        metavar="KEY=VALUE",
        help="a value that the model, or in the report a clinical score, asks for, such as age=63 or "
        "setting=incidental; repeat for more",
    )


def _dicom(command: argparse.ArgumentParser, where: str) -> None:
    command.add_argument(
        "--dicom-sr",
        action="store_true",
        help=f"also write DICOM report, card and segmentation of a DICOM series, {where}",
    )


def _nifti_form(command: argparse.ArgumentParser) -> None:
    from .images.files import NIFTI_FORMS

    command.add_argument(
        "--nifti-form", choices=NIFTI_FORMS, help="the geometry to use of a NIfTI file whose two disagree"
    )


def _one_point(command: argparse.ArgumentParser, required: bool = True) -> None:
    without = "" if required else "; none for models of pictures"
    command.add_argument("--point", required=required, metavar="L,P,S", help=f"the nodule's position in mm{without}")
    command.add_argument("--ras", action="store_true", help="the position is RAS instead of LPS")


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="ID|PATH", help="default: the model shipped with MAEMC")
    command.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N|mps")


if __name__ == "__main__":
    sys.exit(main())
