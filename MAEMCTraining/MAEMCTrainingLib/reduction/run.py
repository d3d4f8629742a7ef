"""Reducing a whole manifest."""

import functools
from collections.abc import Callable
from dataclasses import replace

from MAEMCLib.cases.manifest import Manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.reading_process import ReadingProcess

from .partial import Partial, files_signature
from .result import Reduced, Reduction
from .selection import LEADER, PAIRWISE, Rule, Similarity, select
from .slices import LeftOut, Volume, read_slices, volumes_of

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
    ended, all_reduced = len(done_before), []
    with ReadingProcess() as reader:
        for number, volume in enumerate(volumes):
            progress(ended, len(volumes), 0.0)
            is_new = number not in done_before
            files = files_signature(volume) if is_new else ""
            step = functools.partial(progress, ended, len(volumes))
            try:
                reduced = _reduce(volume, similarity, rule, step, reader) if is_new else done_before[number]
            except InputError as error:
                left_out.append(LeftOut(volume.volume_id, "", str(error), error.code))
                continue
            finally:
                ended += is_new
            left_out += reduced.left_out
            if reduced.rows:
                all_reduced.append(reduced)
                if is_new:
                    partial.add(number, files, reduced)
    progress(len(volumes), len(volumes), 0.0)
    if not all_reduced:
        reasons = "; ".join(str(item) for item in left_out[:3])
        raise InputError(f"No volume of {manifest.path} can be used: {reasons}. Nothing was written.", "no-cases")
    return Reduction(tuple(all_reduced), tuple(left_out))


def _reduce(
    volume: Volume, similarity: Similarity, rule: Rule, step: Callable[[float], None], reader: ReadingProcess
) -> Reduced:
    if similarity.by_position and not volume.is_ct:
        rows, slices, left_out = volume.rows, [], []
    else:
        rows, slices, left_out = read_slices(volume, reader)
    described = similarity.describe(slices) if slices else None
    selected = select(similarity, described, len(rows), rule, step)
    other = None
    if similarity.cheap and rule.threshold is not None:
        turned = replace(rule, selection=LEADER if rule.selection == PAIRWISE else PAIRWISE)
        other = len(select(similarity, described, len(rows), turned).kept)
    return Reduced(volume, tuple(rows), selected, other, tuple(left_out))
