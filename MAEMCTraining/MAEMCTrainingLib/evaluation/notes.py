"""How the figures of an evaluation were made, and where they say less than they seem to."""

from ..classifiers.starting_point import IN_FOLD, UNKNOWN, UNKNOWN_PATIENTS
from ..data.parts import TEST
from ..statistics.metrics import INTERVALS
from ..statistics.operating_points import FEWEST_CASES
from .baselines import SIZE, VALUES
from .evaluation import Evaluation

_LEAK = 0.995
_MACRO = "A case is called what is likeliest. Macro: the mean over classes. AUC: a class against all others."
_MEAN_OF_FOLDS = (
    "These are the figures of one fold model at a time. An exported bundle gives the mean of all fold models, whose "
    "probabilities spread less; how it does shows on other data."
)


def job_notes(found: Evaluation) -> list[str]:
    """Of a job's own cases."""
    job, calibration = found.job, found.decisions.calibration
    notes = [INTERVALS, *about_parts(found.evaluation, bool(job.parts_of_split))]
    if found.macro:
        notes.append(_MACRO)
    if found.leaky:
        notes.append("LEAKY: the pre-training saw patients that are evaluated here (the published protocol).")
    if job.pretraining == IN_FOLD:
        notes.append("The pre-training was repeated in each fold without the patients that the fold tests.")
    if job.pretraining == UNKNOWN:
        notes.append(UNKNOWN_PATIENTS)
    if calibration.calibrated:
        how = (
            "cross-fitted: a fold's probabilities are calibrated, and its cases called, by what was fitted and chosen "
            "without its cases"
        )
        if found.evaluation != "out-of-fold":
            how = "fitted on the validation rows"
        notes.append(
            f"Calibrated by Platt scaling, {how}. The probabilities assume a share of {_positive(found)} cases of "
            f"{found.decisions.prior_in_probability:.3f}. AUCs are of the network's own scores."
        )
    elif found.decisions.thresholds_reason:
        notes.append(f"Not calibrated. All thresholds are 0.5: {found.decisions.thresholds_reason}.")
    else:
        notes.append(f"Not calibrated: {calibration.reason}.")
    notes += few_cases(found)
    alone = found.baselines.get(VALUES, {}).get("macro_auc")
    if alone is not None and alone.value is not None and alone.value > _LEAK:
        notes.append(
            "The clinical values alone tell the classes almost without an error: look whether one of them is known "
            "only because the class is."
        )
    partly = [f"{name} {n}" for name, n in {**job.seen, **job.given}.items() if n < found.cases]
    if partly:
        notes.append(f"Observed in part of the {found.cases} cases: {', '.join(partly)}. What is missing is masked.")
    if found.patients < found.cases:
        notes.append("Some patients have several cases: DeLong's p takes cases for independent, the intervals do not.")
    if job.folds > 1:
        notes.append(_MEAN_OF_FOLDS)
    return [*notes, "Baselines are called at 0.5; all but the majority class are fitted in the same folds."]


def about_parts(evaluated: str, divided: bool) -> list[str]:
    """Which rows of the manifest the figures are of. divided: whether it has a split."""
    if evaluated == "out-of-fold":
        notes = ["Predictions are out of fold."]
        return [*notes, "Folds are of the manifest's training rows."] if divided else notes
    if evaluated.startswith(TEST):
        return ["The figures are of the manifest's test rows, which trained nothing and chose nothing."]
    return [
        "The manifest has no test rows: the figures are of its validation rows, which chose the epoch and the "
        "thresholds. They are too good."
    ]


def few_cases(found: Evaluation) -> list[str]:
    """Which classes are too small to rank anything by."""
    few = [f"{n} {name.removesuffix('-like')}" for name, n in found.classes.items() if n < FEWEST_CASES]
    return [f"Only {', '.join(few)} cases: the intervals are wide; rank nothing by these figures."] if few else []


def data_notes(found: Evaluation) -> list[str]:
    """Of other data."""
    data, decisions = found.data, found.decisions
    notes = [INTERVALS, data.overlap["text"]]
    if found.macro:
        notes.append(_MACRO)
    if decisions.calibration.calibrated and decisions.prior_in_probability is not None:
        share = list(found.classes.values())[1] / found.cases
        notes.append(
            f"The probabilities assume a share of {_positive(found)} cases of {decisions.prior_in_probability:.3f}; "
            f"here it is {share:.3f}. The Brier score, ECE and intercept include that difference."
        )
    elif not decisions.calibration.calibrated:
        notes.append(f"The model is not calibrated: {decisions.calibration.reason or 'no reason is stated'}.")
    if set(decisions.thresholds.values()) == {0.5}:
        notes.append("All thresholds of the model are 0.5: none was chosen from data.")
    notes += few_cases(found)
    if data.unlabeled:
        notes.append(f"{data.unlabeled} cases have no label and are left out.")
    if data.failed:
        notes.append(
            f"{len(data.failed)} labeled cases could not be scored and are left out: metrics.json has their rows in "
            "the manifest."
        )
    if SIZE in found.baselines:
        notes.append("Size alone ranks by the diameter; nothing is fitted.")
    return notes


def _positive(found: Evaluation) -> str:
    return list(found.classes)[1].removesuffix("-like")
