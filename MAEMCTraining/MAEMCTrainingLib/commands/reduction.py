"""The command ``maemc-train reduce``."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import UsageError
from MAEMCLib.files.atomic import file_sha256
from MAEMCLib.machine.installation import check_packages, check_torch
from MAEMCLib.report.sections import Report, Section, Table

from ..jobs.progress import TerminalLine, duration
from ..jobs.stopping import Interrupted
from ..reduction import METHODS, NOTE, check_rule
from ..reduction.partial import Partial
from ..reduction.result import check_output, write_reduction
from ..reduction.run import reduce_manifest
from ..reduction.selection import LEADER, PAIRWISE, SELECTIONS, Rule
from . import add_command, add_output, show

_FAILED = 3
_NEEDS = {"ssim": ("scipy",), "deepnet": ("timm",)}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands, "reduce", _reduce, "leave out slices that look like others of their volume, before pre-training"
    )
    command.add_argument("manifest", type=Path, metavar="MANIFEST")
    command.add_argument(
        "--method",
        required=True,
        choices=tuple(METHODS),
        help="all; every-n; or by similarity: ssim (structural), mi (normalized mutual information), deepnet (cosine "
        "of ResNet-50 vectors), hash (difference hash, the paper's best)",
    )
    add_output(command, "MANIFEST", help="the slices that stay")
    command.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="slices go that are so alike: for hash at most T bits differ (default 6), else a similarity from T on",
    )
    command.add_argument(
        "--keep", type=float, metavar="SHARE", help="instead: the share of each volume that stays (0.1); by pairs"
    )
    command.add_argument(
        "--selection",
        choices=SELECTIONS,
        help="leader (default): the first slice absorbs all that are like it, then the next; pairwise: the most alike "
        "pair loses its later slice, then the next pair",
    )
    command.add_argument("--every", type=int, metavar="N", help="with every-n: one slice of N stays (default 10)")
    command.add_argument(
        "--weights", type=Path, metavar="FILE.safetensors", help="with deepnet: timm's resnet50.a1_in1k; never fetched"
    )
    command.add_argument("--device", default="auto", help="with deepnet (default auto)")
    command.add_argument(
        "--progress-json", action="store_true", help="for programs: progress as an object a line on standard error"
    )


def _reduce(options: argparse.Namespace) -> int:
    check_packages(*_NEEDS.get(options.method, ()))
    selection = options.selection or (LEADER if options.keep is None else PAIRWISE)
    similarity = _similarity(options)
    rule = check_rule(options.method, similarity, Rule(selection, options.threshold, options.keep))
    manifest = read_manifest(options.manifest, lenient=True)
    check_output(options.output, options.manifest)
    settings = _settings(options, similarity, rule)
    partial = Partial(options.output, file_sha256(manifest.path), settings)
    if partial.of_another_task and not options.quiet:
        print(
            f"{partial.path.name} is of other settings, data or software: all volumes are compared anew.",
            file=sys.stderr,
        )
    try:
        with _Progress(options) as progress:
            reduction = reduce_manifest(manifest, similarity, rule, partial, progress)
    except KeyboardInterrupt:
        text = "Stopped before a volume was done. Nothing was written, and what was there before is unchanged."
        if partial.done:
            text = (
                f"Stopped. {partial.done} of {partial.total} volumes are done and kept in {partial.path.name}: the "
                "same command goes on there."
            )
        raise Interrupted(text) from None
    write_reduction(options.output, reduction, similarity, settings)
    partial.path.unlink(missing_ok=True)
    for item in reduction.left_out:
        print(f"left out {item}", file=sys.stderr)
    if not options.quiet:
        show(_report(reduction, rule))
    print(options.output)
    return _FAILED if reduction.left_out else 0


def _similarity(options: argparse.Namespace) -> Any:
    if options.every is not None and options.method != "every-n":
        raise UsageError("--every goes with --method every-n.", "every")
    if options.weights is not None and options.method != "deepnet":
        raise UsageError("--weights goes with --method deepnet.", "weights")
    if options.method == "deepnet":
        check_torch()
        from MAEMCLib.machine.device import choose_device

        from ..reduction.deepnet import load_deepnet

        return load_deepnet(options.weights, choose_device(options.device).name)
    kind = METHODS[options.method]
    return kind(options.every) if options.every is not None else kind()


def _settings(options: argparse.Namespace, similarity: Any, rule: Rule) -> dict[str, Any]:
    settings = {"method": options.method, "selection": rule.selection, "threshold": rule.threshold, "keep": rule.share}
    if options.method == "every-n":
        settings["every"] = similarity.every
    if options.method == "deepnet":
        settings |= {"weights_sha256": file_sha256(options.weights), "device": similarity.device}
    return settings


def _report(reduction: Any, rule: Rule) -> Report:
    """Counts a volume and in all."""
    rows = [
        (item.volume.volume_id, len(item.rows), len(item.selected.kept), item.other_kept) for item in reduction.volumes
    ]
    rows.append((f"all {len(rows)} volumes", reduction.slices, len(reduction.rows), reduction.other_kept))
    heads, both = ["volume", "slices", "kept", "share"], reduction.other_kept is not None
    heads += [f"by {LEADER if rule.selection == PAIRWISE else PAIRWISE}"] if both else []
    lines = [(name, slices, kept, f"{kept / slices:.1%}", *[other] * both) for name, slices, kept, other in rows]
    return Report("", [Section("", [Table(lines, heads)])], NOTE)


class _Progress(TerminalLine):
    """Volumes done and the time left on standard error: renewed in place on a terminal; with ``--progress-json`` an
    object a line, at most twice a second.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.quiet or options.progress_json)
        self.json = options.progress_json
        self.shown_at, self.started = 0.0, time.monotonic()
        self.share_before = -1.0  # what an earlier run has done says nothing about the time left

    def __call__(self, done: int, total: int, part: float) -> None:
        now, share = time.monotonic(), (done + part) / total
        if self.share_before < 0:
            self.share_before, self.started = share, now
        if not (self.live or self.json) or (now - self.shown_at < (0.5 if self.json else 0.2) and done < total):
            return
        self.shown_at = now
        ours, volume = share - self.share_before, min(done + 1, total)
        left = (now - self.started) * (1 - share) / ours if ours > 0 else None
        if self.json:
            seconds = None if left is None else round(left)
            line = {"volume": volume, "volumes": total, "share": round(share, 4), "seconds_left": seconds}
            print(json.dumps(line), file=sys.stderr, flush=True)
        else:
            text = "" if left is None else f"  {duration(left)} left"
            self.renew(f"Comparing volume {volume} of {total}{text}")
