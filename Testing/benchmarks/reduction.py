"""``reduce --method hash`` on made-up CT slices, beside the published script's procedure written out here; and, run by
itself, the figure: ``python Testing/benchmarks/reduction.py FIGURE.png [FOLDER OF LIDC-SLICES]``.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
from MAEMCTrainingLib.reduction.deepnet import DeepNet
from MAEMCTrainingLib.reduction.hash import DifferenceHash
from MAEMCTrainingLib.reduction.mutual_information import MutualInformation
from MAEMCTrainingLib.reduction.selection import LEADER, SELECTIONS, Rule, select
from MAEMCTrainingLib.reduction.slices import read_picture
from MAEMCTrainingLib.reduction.ssim import StructuralSimilarity
from PIL import Image
from samples import said, seconds

SLICES, SIDE, THRESHOLD = 300, 512, 6
COUNTS = (50, 100, 200, 300, 450, 600)
THRESHOLDS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
TARGET_SECONDS = 0.25


def rows():
    """Rows of the table; ours and the script's in turn, in one run."""
    stack = drifting_stack(SLICES)
    with tempfile.TemporaryDirectory(prefix="maemc-bench-") as folder:
        paths = save(stack, Path(folder))
        durations = {"memory": [], "files": [], "script, memory": [], "script, files": []}
        for sample in range(6):
            once = {
                "memory": seconds(lambda: reduce_stack(stack), 1, 0),
                "files": seconds(lambda: reduce_stack([read_picture(path) for path in paths]), 1, 0),
                "script, memory": seconds(lambda: published([Image.fromarray(pixels) for pixels in stack]), 1, 0),
                "script, files": seconds(lambda: published([Image.open(path) for path in paths]), 1, 0),
            }
            for name, found in once.items():
                durations[name] += found if sample else []  # the first round is not counted
        assert reduce_stack(stack).kept == tuple(published([Image.fromarray(pixels) for pixels in stack]))
    medians = {name: statistics.median(values) for name, values in durations.items()}
    yield "300 slices of 512 x 512, hash", said(durations["memory"])
    yield "the same from PNG files", said(durations["files"])
    yield "published script's procedure, files", said(durations["script, files"])
    yield "published script / hash from memory", f"{medians['script, files'] / medians['memory']:.1f} times"
    yield "the script from memory / hash", f"{medians['script, memory'] / medians['memory']:.1f} times"
    for name, similarity in (("ssim", StructuralSimilarity()), ("mi", MutualInformation())):
        described, others = similarity.describe(stack[:8]), np.arange(1, 8)
        pairs = seconds(lambda s=similarity, d=described, o=others: s.compare(d, 0, o), 7)
        yield f"a pair of slices, {name}", said([duration / len(others) for duration in pairs], "ms")
    network = timm.create_model("resnet50", pretrained=False, num_classes=0).eval()  # weights do not change its speed
    vectors = seconds(lambda: DeepNet(network).describe(stack[:16]), 3)
    yield "a slice, deepnet on the processor", said([duration / 16 for duration in vectors], "ms")


def reduce_stack(stack, selection=LEADER, threshold=THRESHOLD):
    """Hashes and selection of slices in memory."""
    similarity = DifferenceHash()
    return select(similarity, similarity.describe(stack), len(stack), Rule(selection, threshold))


def published(images):
    """What the paper's script does to one volume: a thumbnail and 64 truth values a slice, then the first of what is
    left against all that is left, until nothing is. Places of the slices that stay, given in slice order.
    """
    hashes, remaining, kept = [], list(range(len(images))), []
    for image in images:
        small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
        hashes.append((small[:, 1:] > small[:, :-1]).flatten())
    while remaining:
        kept.append(remaining[0])
        remaining = [other for other in remaining if (hashes[other] != hashes[kept[-1]]).sum() > THRESHOLD]
    return kept


def drifting_stack(count, side=SIDE, seed=0):
    """(count, side, side) uint8: smooth random structure that changes along the stack, and mild noise."""
    draws = np.random.default_rng(seed)
    knots = draws.normal(size=(count // 12 + 3, 12, 12))
    stack = np.empty((count, side, side), np.uint8)
    for place in range(count):
        before, part = divmod(place / 12, 1.0)
        coarse = (1 - part) * knots[int(before)] + part * knots[int(before) + 1]
        smooth = Image.fromarray(coarse.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        noise = draws.standard_normal((side, side), dtype=np.float32)
        stack[place] = np.clip(110 + 55 * np.asarray(smooth) + 6 * noise, 0, 255)
    return stack


def save(stack, folder):
    """PNG files of the slices."""
    paths = []
    for place, pixels in enumerate(stack):
        paths.append(folder / f"{place}.png")
        Image.fromarray(pixels).save(paths[-1], compress_level=1)
    return paths


def lidc_hashes(folder, unpacked):
    """Hashes of the real slices, one array a nodule, in slice order."""
    from MAEMCTrainingLib.data.importers.formats.images import import_images

    volumes = {}
    for row in import_images(folder, unpacked).rows:
        volumes.setdefault(row.values["volume_id"], []).append((int(row.values["slice_index"]), row.image))
    return [DifferenceHash().describe([read_picture(path) for _, path in sorted(items)]) for items in volumes.values()]


def shares(volumes, selection):
    """(threshold, share of all slices that stays) of volumes of hashes."""
    total = sum(map(len, volumes))

    def kept(threshold):
        rule = Rule(selection, threshold)
        return sum(len(select(DifferenceHash(), hashes, len(hashes), rule).kept) for hashes in volumes)

    return [(threshold, kept(threshold) / total) for threshold in THRESHOLDS]


def draw(path, lidc):
    """Write the figure, and print what it shows."""
    from reduction_figure import write_figure

    stack = drifting_stack(max(COUNTS))
    volumes = {f"made-up CT, {SLICES} slices": [DifferenceHash().describe(stack[:SLICES])]}
    with tempfile.TemporaryDirectory(prefix="maemc-bench-") as folder:
        paths = save(stack, Path(folder))
        times = {"hash, from memory": [], "published script's procedure": []}
        for count in COUNTS:
            ours = seconds(lambda n=count: reduce_stack(stack[:n]), 7)
            theirs = seconds(lambda n=count: published([Image.open(path) for path in paths[:n]]), 3)
            # The fastest of a few: what else the machine does must not bend the curve.
            times["hash, from memory"].append((count, min(ours)))
            times["published script's procedure"].append((count, min(theirs)))
        if lidc is None:
            print("lidc-slices were not given: the figure shows made-up slices only")
        else:
            found = lidc_hashes(lidc, Path(folder) / "lidc")
            volumes[f"LIDC, {sum(map(len, found))} slices of {len(found)} nodules"] = found
    curves = {f"{name}, {kind}": shares(items, kind) for name, items in volumes.items() for kind in SELECTIONS}
    for name, curve in (curves | times).items():
        print(f"{name:46}" + "  ".join(f"{x:g}: {y:.3f}" for x, y in curve))
    write_figure(path, curves, times, TARGET_SECONDS)
    print(path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
