"""A classifier's training as a job: fold models by patient, each stopped by its own validation part and tested once.

Zhao et al. 2025, section 3.4: the pre-trained encoder and a head, no masking. The head is one linear layer on each
branch, or relates the branches and clinical values of a case.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import replacing, write_json
from MAEMCLib.images.gray import STORED_SIDE
from MAEMCLib.networks.configuration import CLINICAL
from MAEMCLib.networks.heads import HEADS, head_named
from MAEMCLib.networks.vit import build_encoder
from safetensors.torch import save_file
from torch import Tensor

from ..data.cases import TEST, TRAIN, VALIDATION
from ..data.cohort import Cohort, Settings, measure_preprocessing
from ..data.folds import Fold
from ..engine.configuration import to_json
from ..engine.loop import train
from ..engine.session import Session
from ..pretraining.run import PretrainingTask, cohort_of, with_attributes
from ..statistics.logistic import FEATURE_PENALTY, fit_classes
from .cases import PICTURE, LabeledCohort, describe_parts, division_of, measured, part_counts
from .fold_model import FoldTraining, fold_folder
from .presets import ClassifierConfiguration, FusionConfiguration
from .starting_point import IN_FOLD, SCRATCH, StartingPoint, check_protocol, keep_start
from .task import ClassifierTask, feature_statistics, features, predict

IMAGES_ALONE = "images alone"
"""The same network without the clinical values, beside the one that reads them."""


Trained = dict[str, tuple[ClassifierTask, int | None]]
"""{variant: its task with the best weights, and the epoch that they are of}."""


def train_folds(
    cohort: LabeledCohort,
    run: ClassifierConfiguration,
    session: Session,
    data: list[dict[str, Any]],
    start: StartingPoint | None,
    protocol: str = "honest",
) -> FoldTraining | None:
    """Train all folds in an opened job, or continue it.

    data: how the cohort was put together, for job.json. start: None from scratch. Returns what is to be evaluated; None
    in processes that do not lead. Raises InputError: a class or patients too few, pre-training data that are gone or of
    another kind; UsageError: a probe from scratch, another kind's head; and what ``Job.declare`` and ``train`` raise.
    """
    job = session.job
    _check(cohort, run, start)
    if head_named(run.head).MEASURES:
        cohort = measured(cohort)
    division = division_of(cohort, run, job.log)
    parts, facts = part_counts(cohort), cohort.facts(TRAIN, VALIDATION)
    if run.folds != len(division.folds):
        run = replace(run, folds=len(division.folds))
    pretraining, leaky = check_protocol(protocol, cohort.main, start, division.untouched)
    preprocessing = _preprocessing(cohort, run, start)
    job.declare(
        {
            "configuration": to_json(run),
            "input": cohort.main.kind.name,
            "preprocessing": asdict(preprocessing),
            "branches": list(cohort.branches),
            "classes": list(cohort.classes),
            "clinical": [one.to_json() for one in cohort.asked],
            "protocol": protocol,
            "leaky": leaky,
            "pretraining": pretraining,
            "from": start.source if start else SCRATCH,
            "pretraining_fingerprint": start.fingerprint if start else None,
            "data": data,
            "data_fingerprint": cohort.fingerprint,
            "cohort": facts,
            "parts": parts,
        }
    )
    if session.processes.leads:
        keep_start(job, start)
    variants = {"": cohort}
    if isinstance(run, FusionConfiguration) and run.images_alone and cohort.fields:
        variants[IMAGES_ALONE] = cohort.images_alone()
    plan = FoldTraining(cohort, run, session, start, division, preprocessing, pretraining, variants)
    for line in _describe(plan):
        job.log(line)
    everyone = cohort_of(start.pretraining, job.home) if pretraining == IN_FOLD else None
    for fold in division.folds:
        if not (fold_folder(job.folder, fold.number) / "result.json").is_file():
            _train_fold(plan, fold, everyone)
    job.update(stage="Evaluating")
    return plan if session.processes.leads else None


def _check(cohort: LabeledCohort, run: ClassifierConfiguration, start: StartingPoint | None) -> None:
    if run.head not in HEADS:
        raise UsageError(f"There is no head '{run.head}'. Choose one of {', '.join(HEADS)}.", "head")
    if head_named(run.head).RELATES is not isinstance(run, FusionConfiguration):
        raise UsageError(
            f"The head {run.head} is not of this command: fuse trains heads that relate the branches of a case, and "
            "finetune those that look at each by itself.",
            "head",
        )
    if head_named(run.head).MEASURES and PICTURE in cohort.branches:
        raise UsageError(f"The head {run.head} measures nodules, and these data are pictures.", "head")
    if run.linear_probe and start is None:
        raise UsageError(
            "A linear probe needs an encoder that has learned something. Name a pre-training job with --from.", "probe"
        )
    if run.angles > 1 and run.head != "linear":
        raise UsageError(
            f"The head {run.head} classifies the mean of a picture's features, which at several angles is not the mean "
            "of what it makes of each. Train it with angles=1, or use the linear head.",
            "angles",
        )
    kind = cohort.main.kind
    if start is not None and start.kind not in (None, kind):
        ours, theirs = kind.title, start.kind.title
        raise InputError(f"These data are {ours}, but the pre-training learned from {theirs}. Pre-train again.", "kind")


def _preprocessing(cohort: LabeledCohort, run: ClassifierConfiguration, start: StartingPoint | None) -> Settings:
    """What the encoder is used to, or what suits the cases that train."""
    used_to = start.preprocessing if start else None
    if used_to is None:
        used_to = measure_preprocessing(
            cohort.main.of_parts(TRAIN), run.augmentation, run.encoder.image_size, run.encoder.skips_unobserved
        )
    return replace(used_to, angles=run.angles, stored_side=STORED_SIDE) if PICTURE in cohort.branches else used_to


def _train_fold(plan: FoldTraining, fold: Fold, everyone: Cohort | None) -> None:
    """Everything of one fold. everyone: whom the pre-training is repeated on, None where it is used as it is."""
    session, cohort, start = plan.session, plan.cohort, plan.start
    place = fold_folder(session.job.folder, fold.number)
    state = start.state if start else None
    if everyone is not None:
        plan.announce(fold, "pretraining", "Pre-training")
        tested = {cohort.cases[int(case)].patient for case in plan.division.tested_by(fold)}
        before = start.pretraining
        others, run, attributes = with_attributes(everyone.without(tested), before.run, lambda line: None)
        task = PretrainingTask(others, run, before.preprocessing, attributes=attributes)
        train(task, run, session, place / "pretraining", task.fingerprint, fold=fold.number)
        state = task.module.encoder.state_dict()
    trained = {name: _train_variant(plan, fold, name, state) for name in plan.variants}
    if session.processes.leads:
        _finish_fold(plan, trained, place, state)


def _train_variant(
    plan: FoldTraining, fold: Fold, name: str, state: dict[str, Tensor] | None
) -> tuple[ClassifierTask, int | None]:
    """A task with its best weights, and the epoch that they are of; None of a probe that was fitted at once."""
    session, run, cohort = plan.session, plan.run, plan.variants[name]
    place = fold_folder(session.job.folder, fold.number)
    task = ClassifierTask(cohort, fold, run, plan.preprocessing, state)
    plan.announce(fold, name, f"Training, {name}," if name else "Training")
    if run.linear_probe and run.head == "linear":
        _fit_probe(task, session.device)
        if session.processes.leads:
            weights = place / "checkpoints" / "best" / "model.safetensors"
            weights.parent.mkdir(parents=True, exist_ok=True)
            with replacing(weights) as temporary:
                save_file({key: tensor.contiguous() for key, tensor in task.module.state_dict().items()}, temporary)
        return task, None
    # A fold number of its own for each variant: its events and curves stay apart from the model's.
    where = {"fold": fold.number + run.folds * bool(name), **({"variant": name} if name else {})}
    folder = place / (variant_folder(name) or "checkpoints")
    stopping = {"patience": run.patience, "window": run.loss_window}
    outcome = train(task, run, session, folder, cohort.fingerprint, **stopping, **where)
    task.module.load_state_dict(outcome.best)
    return task, outcome.position.best_epoch


def _fit_probe(task: ClassifierTask, device: torch.device) -> None:
    """Set a fold's linear layer by logistic regression on the features of its training part.

    All branches of a case are separate samples, as in fine-tuning; no augmentation.
    """
    train, branches = task.fold.train, list(task.branches)
    values = task.features(train, device)[:, branches]
    labels = np.repeat(task.cohort.labels[train], len(branches))
    weights, biases = fit_classes(values.flatten(0, 1).numpy(), labels, FEATURE_PENALTY)
    head = task.module.cpu().head
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(biases))


def _describe(plan: FoldTraining) -> Iterator[str]:
    """What starts, a line at a time."""
    cohort, run, division = plan.cohort, plan.run, plan.division
    what = "Fine-tuning"
    if isinstance(run, FusionConfiguration):
        values = ", ".join(one.name for one in cohort.fields) or "no clinical values"
        what = f"Fusion of {', '.join(cohort.branches)} and {values}"
    folds = f"{run.folds} folds" + (f" of the column {run.folds_from}" if run.folds_from else "")
    yield (
        f"{what} from {plan.start.public_name if plan.start else SCRATCH} on {len(cohort.labels)} cases "
        f"({', '.join(f'{count} {name}' for name, count in cohort.counts.items())}), "
        f"{'one model' if division.by_split else folds}{', linear probe' if run.linear_probe else ''}, on "
        f"{plan.session.device}."
    )
    if cohort.main.is_divided:
        yield describe_parts(cohort, division)
    if plan.pretraining == IN_FOLD:
        yield (
            "The pre-training saw patients that are evaluated here: it is repeated in each fold without those that the "
            "fold tests (--protocol honest)."
        )


def variant_folder(name: str) -> str:
    """Where in a fold's folder a variant is trained; empty for the model itself."""
    return name.replace(" ", "-")


def _finish_fold(plan: FoldTraining, trained: Trained, place: Path, pretrained: dict[str, Tensor] | None) -> None:
    """Predict the test part once and the validation part, keep the features' statistics; result.json comes last.

    pretrained: the encoder as the pre-training left it; a logistic model on its features is a baseline.
    """
    (task, best_epoch), division, device = trained[""], plan.division, plan.session.device
    task.module.to(device).eval()
    fold, cohort = task.fold, task.cohort
    features_of = {name: task.features(getattr(fold, name), device) for name in ("train", "validation", "test")}
    # What a model knows is measured on other cases than what is new to it: those of its test part, or the validation.
    familiar = ("train",) if division.by_split else ("train", "validation")
    seen = np.concatenate([cohort.seen[getattr(fold, name)] for name in familiar])
    statistics = feature_statistics(torch.cat([features_of[name] for name in familiar]), seen, cohort.branches)
    with replacing(place / "statistics.safetensors") as temporary:
        save_file(statistics, temporary)
    result: dict[str, Any] = {"fold": fold.number, "best_epoch": best_epoch, "trained_on": len(fold.train)}
    for name in ("validation", "test"):
        result[name] = _rows(task, getattr(fold, name), features_of[name])
    result["parts"] = {
        name: _rows(task, cases, task.features(cases, device))
        for name, cases in ((VALIDATION, division.validation), (TEST, division.test))
        if len(cases)
    }
    if pretrained is not None:
        result["frozen"] = _frozen_baseline(task, pretrained, device)
    for name, (other, _) in trained.items():
        if name:
            other.module.to(device)
            result[variant_folder(name).replace("-", "_")] = _rows(other, fold.test, other.features(fold.test, device))
    write_json(place / "result.json", result)
    for done in ("checkpoints/last", "pretraining", *filter(None, map(variant_folder, trained))):
        shutil.rmtree(place / done, ignore_errors=True)  # a finished fold is not continued
    plan.session.job.event(phase="fold", fold=fold.number, best_epoch=best_epoch, cases=len(fold.test))


def _rows(task: ClassifierTask, cases: np.ndarray, values: Tensor) -> list[dict[str, Any]]:
    """What result.json keeps of cases: the probabilities of the model and of each observed branch by itself.

    values: the cases' features.
    """
    cohort = task.cohort
    trained = np.isin(np.arange(len(cohort.branches)), task.branches)
    seen = cohort.seen[cases] & trained
    logits = predict(task.module, values, seen, cohort.values[cases], cohort.given[cases])
    names = [*cohort.branches, CLINICAL][: logits.branches.shape[1]]
    rows = _case_rows(task, cases, logits.fused.softmax(dim=1))
    branches = logits.branches.softmax(dim=2).tolist()
    for row, own, observed in zip(rows, branches, logits.observed.tolist(), strict=True):
        row["branches"] = {name: own[k] for k, name in enumerate(names) if observed[k]}
    return rows


def _case_rows(task: ClassifierTask, cases: np.ndarray, chances: Tensor) -> list[dict[str, Any]]:
    rows = []
    for case, own in zip(cases.tolist(), chances.tolist(), strict=True):
        entry = task.cohort.cases[case]
        row = {"case_id": entry.case_id, "patient": entry.patient, "row": entry.row}
        row |= {"label": int(task.cohort.labels[case]), "probabilities": own}
        rows.append(row | ({"probability": own[1]} if len(own) == 2 else {}))
    return rows


def _frozen_baseline(task: ClassifierTask, pretrained: dict[str, Tensor], device: torch.device) -> list[dict[str, Any]]:
    """Probabilities of the test part by a logistic model on the features of the encoder before it was trained on."""
    fold, cohort = task.fold, task.cohort
    frozen = build_encoder(task.run.encoder)
    frozen.load_state_dict(pretrained)
    fitted = np.concatenate([fold.train, fold.validation])
    values, tested = (features(frozen, task.images, cases, device).flatten(1) for cases in (fitted, fold.test))
    weights, biases = fit_classes(values.numpy(), cohort.labels[fitted], FEATURE_PENALTY)
    logits = tested @ torch.from_numpy(weights).T + torch.from_numpy(biases)
    return _case_rows(task, fold.test, logits.softmax(dim=1))
