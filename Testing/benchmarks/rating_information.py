"""What tells LIDC readers' ratings of malignancy apart besides size, and how much of it a network has not used.

    python Testing/benchmarks/rating_information.py FOLDER-OF-LIDC-SLABS [PREDICTIONS.csv]

AUC out of fold by patient, of boosted trees on the readers' long axis and what else is named. PREDICTIONS.csv: of a
fine-tuning job on the manifest that ``maemc-train import lidc-slabs`` made of all the slabs; its logits are such a
feature too: what raises their AUC, the network has not used.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from MAEMCLib.images.files import read_volume
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

CHARACTERISTICS = ("subtlety", "calcification", "sphericity", "margin", "lobulation", "spiculation", "texture")


def main(folder: Path, predictions: Path | None) -> None:
    """Print the table."""
    with open(folder / "labels.csv", newline="", encoding="utf-8") as stream:
        everyone = list(csv.DictReader(stream))
    rated = [number for number, row in enumerate(everyone) if row["label"]]
    rows = [everyone[number] for number in rated]
    labels = np.array([row["label"] == "malignant" for row in rows], dtype=int)
    patients = np.array([row["patient"] for row in rows])
    size = np.log([float(row["long_axial_mm"]) for row in rows])
    marks = {
        name: np.array([np.mean([float(word) for word in row[name].split()]) for row in rows])
        for name in CHARACTERISTICS
    }
    # Of calcification 1 to 5 are kinds of it, no degrees, and 6 is its absence.
    marks["calcification"] = np.array([np.mean([word != "6" for word in row["calcification"].split()]) for row in rows])
    calcified = marks["calcification"] > 0.5
    print(f"calcified by most readers: {calcified.mean():.0%}, rated malignant of these {labels[calcified].mean():.0%}")
    dense = np.array([dense_hu(folder, row) for row in rows])

    def say(name: str, *features: np.ndarray) -> None:
        print(f"{name:55s} {out_of_fold(np.stack(features, axis=1), labels, patients):.3f}", flush=True)

    print(f"{len(rows)} nodules of {len(set(patients))} patients, long axis alone {roc_auc_score(labels, size):.3f}")
    say("long axis", size)
    say("long axis, 90th percentile of attenuation", size, dense)
    for name, mark in marks.items():
        say(f"long axis, readers' {name}", size, mark)
    say("long axis, all of these", size, *marks.values())
    if predictions is not None:
        logits = logits_of(predictions, rated, labels)
        print(f"{'the logits by themselves':55s} {roc_auc_score(labels, logits):.3f}")
        say("logits", logits)
        say("logits, long axis", logits, size)
        say("logits, long axis, 90th percentile of attenuation", logits, size, dense)
        say("logits, long axis, readers' calcification", logits, size, marks["calcification"])
        soft = ~calcified
        axis, ranked = roc_auc_score(labels[soft], size[soft]), roc_auc_score(labels[soft], logits[soft])
        print(f"the {soft.sum()} not calcified by most readers: long axis {axis:.3f}, logits {ranked:.3f}")


def dense_hu(folder: Path, row: dict[str, str]) -> float:
    """The 90th percentile of the attenuation of the voxels that at least half of the readers marked."""
    inside = read_volume(folder / "masks" / row["file"]).array * 2 >= int(row["n_readers"])
    return float(np.percentile(read_volume(folder / "images" / row["file"]).array[inside], 90))


def out_of_fold(features: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> float:
    """AUC of boosted trees, each nodule by those that never saw its patient."""
    trees = HistGradientBoostingClassifier(max_depth=3, max_iter=60, learning_rate=0.06, random_state=0)
    folds = GroupKFold(5)
    chances = cross_val_predict(trees, features, labels, groups=patients, cv=folds, method="predict_proba")
    return float(roc_auc_score(labels, chances[:, 1]))


def logits_of(predictions: Path, rated: list[int], labels: np.ndarray) -> np.ndarray:
    """Of the rated nodules in their order; the manifest's first case is its row 2."""
    with open(predictions, newline="", encoding="utf-8") as stream:
        found = {int(row["row"]) - 2: row for row in csv.DictReader(stream)}
    if sorted(found) != rated or any(int(found[n]["label"]) != label for n, label in zip(rated, labels, strict=True)):
        sys.exit(f"{predictions} is not of a fine-tuning on all rated slabs.")
    chances = np.array([float(found[number]["network_probability"]) for number in rated])
    return np.log(chances / (1.0 - chances))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
