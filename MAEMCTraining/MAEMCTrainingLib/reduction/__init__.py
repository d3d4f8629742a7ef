"""Leaving out slices that look like others of their volume before contrastive pre-training (Wolf et al., "Less is
More", Computers in Biology and Medicine 2024, doi:10.1016/j.compbiomed.2024.109242).

Each similarity is one file, and ``METHODS`` is the table of all. They share ``slices`` (the slices of a manifest as
8-bit images), ``selection`` (which slices are removed), ``run`` (the reduction of a whole manifest), ``partial`` (the
volumes that are done, so that a run can be continued) and ``result`` (the files that are written).
"""

from MAEMCLib.errors import UsageError

from .deepnet import DeepNet
from .hash import DifferenceHash
from .mutual_information import MutualInformation
from .position import AllSlices, EveryNth
from .selection import PAIRWISE, Rule, Similarity
from .ssim import StructuralSimilarity

METHODS: dict[str, type] = {
    "all": AllSlices,
    "every-n": EveryNth,
    "ssim": StructuralSimilarity,
    "mi": MutualInformation,
    "deepnet": DeepNet,
    "hash": DifferenceHash,
}

NOTE = (
    "Reduction helps contrastive pre-training and harms masked methods. The paper's own AUC, all slices -> hash, 6: "
    "contrastive 0.775 -> 0.830 (COVID-19) and 0.727 -> 0.831 (brain hemorrhage); SparK, masked, 0.828 -> 0.810 and "
    "0.919 -> 0.882. Pre-train masked methods on all slices. Research only, not for clinical use."
)


def check_rule(name: str, similarity: Similarity, rule: Rule) -> Rule:
    """The rule with the method's own threshold where none was given.

    Raises UsageError: neither or both of threshold and share are given, one is outside its range, a share is combined
    with ``leader``, or any of them with a method that goes by position.
    """
    if similarity.by_position:
        if rule.threshold is not None or rule.share is not None or rule.selection == PAIRWISE:
            raise UsageError(
                f"--method {name} goes by position; leave --threshold, --keep and --selection out.", "rule"
            )
        return Rule(threshold=similarity.default_threshold)
    if rule.share is not None:
        if rule.threshold is not None:
            raise UsageError("--threshold and --keep are two ways to say how far to go. Give one of them.", "rule")
        if rule.selection != PAIRWISE:
            raise UsageError("--keep goes by pairs; leave --selection out or give --selection pairwise.", "rule")
        if not 0.0 < rule.share <= 1.0:
            raise UsageError(f"--keep is {rule.share:g}; it is a share of the slices, above 0 and up to 1.", "keep")
        return rule
    threshold = similarity.default_threshold if rule.threshold is None else rule.threshold
    low, high = similarity.range
    if threshold is None:
        raise UsageError(
            f"--method {name} needs --threshold ({similarity.measure}, {low:g} to {high:g}; the paper gives none) or "
            "--keep (the paper's comparison keeps a tenth: --keep 0.1).",
            "rule",
        )
    whole = similarity.whole_numbers and not float(threshold).is_integer()
    if not low <= threshold <= high or whole:
        kind = "a whole number" if similarity.whole_numbers else "a number"
        raise UsageError(
            f"--threshold is {threshold:g}; for --method {name} it is a {similarity.measure}, {kind} from {low:g} to "
            f"{high:g}.",
            "threshold",
        )
    return Rule(rule.selection, threshold)
