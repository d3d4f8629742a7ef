"""Reducing a whole manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from MAEMCLib.cases.manifest import Manifest
from MAEMCLib.errors import InputError

from .partial import Partial, files_signature
from .result import Reduced, Reduction
from .selection import LEADER, PAIRWISE, Rule, Similarity, select
from .slices import LeftOut, Volume, count_slices, read_slices, volumes_of

Progress = Callable[[int, int, float], None]


def reduce_manifest(
    manifest: Manifest,
    similarity: Similarity,
    rule: Rule,
    partial: Partial,
    progress: Progress = lambda done, total, part: None,
) -> Reduction:
    """Reduce each volume by itself. A volume that cannot be used is named in ``left_out``, and the run goes on.

    partial: keeps each volume once it is done; volumes that an earlier run of the same task has done are not compared
    again. progress: called with the number of volumes that are done, the number of all, and the share of the present
    one that is done. Raises InputError where no volume can be used.
    """
    volumes, left_out = volumes_of(manifest)
    done_before = partial.take_up(volumes)
    ended, reduced = len(done_before), []
    for number, volume in enumerate(volumes):
        progress(ended, len(volumes), 0.0)

        def step(part: float, ended: int = ended) -> None:
            progress(ended, len(volumes), part)

        if number in done_before:
            found, unreadable = done_before[number]
        else:
            files = files_signature(volume)
            try:
                found, unreadable = _reduce(volume, similarity, rule, step)
            except InputError as error:
                found, unreadable = None, [LeftOut(volume.volume_id, "", str(error), error.code)]
            ended += 1
            if found is not None:
                partial.add(number, files, found, unreadable)
        left_out += unreadable
        if found is not None:
            reduced.append(found)
    progress(len(volumes), len(volumes), 0.0)
    if not reduced:
        reasons = "; ".join(str(item) for item in left_out[:3])
        raise InputError(f"No volume of {manifest.path} can be used: {reasons}. Nothing was written.", "no-cases")
    return Reduction(tuple(reduced), tuple(left_out))


def _reduce(
    volume: Volume, similarity: Similarity, rule: Rule, step: Callable[[float], None]
) -> tuple[Reduced | None, list[LeftOut]]:
    if similarity.by_position:
        rows, slices, left_out = count_slices(volume), [], []
    else:
        rows, slices, left_out = read_slices(volume)
    if not rows:
        return None, left_out
    described = similarity.describe(slices)
    selected = select(similarity, described, len(rows), rule, step)
    other = None
    if similarity.cheap and rule.threshold is not None:
        turned = replace(rule, selection=LEADER if rule.selection == PAIRWISE else PAIRWISE)
        other = len(select(similarity, described, len(rows), turned).kept)
    return Reduced(volume, tuple(rows), selected, other), left_out
