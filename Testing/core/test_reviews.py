"""Reviews: no number before the estimate, each decision on the number that was seen, and nothing that names anybody."""

import datetime
import itertools
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from MAEMCLib.cases.pseudonyms import pseudonym_key
from MAEMCLib.commands.review import review_row
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.report.formats import render
from MAEMCLib.report.sections import Report, Section, Table
from MAEMCLib.results import InputWarning, NoduleResult
from MAEMCLib.review.local_calibration import local_calibration
from MAEMCLib.review.observer import Observer, read_observer, store_observer
from MAEMCLib.review.review import CONCEALED, ESTIMATED, REVEALED, Review
from MAEMCLib.review.reviews import Reviews
from MAEMCLib.scoring import SCORING_RELEASE

RESULT = NoduleResult(
    "Müller RLL",
    (1.0, -2.5, 3.25),
    "scored",
    case_id="Müller",
    image="Müller CT",
    gate="green",
    probability=0.83,
    interval_low=0.7,
    interval_high=0.9,
    class_name="malignant-like",
    threshold=0.5,
    warnings=(InputWarning("x", "Müller"),),
    clinical={"age": 8765.4321, "name": "Müller"},
    message="Müller",
    input_sha256="ab" * 32,
)
RED = replace(RESULT, gate="red", gate_reasons=("slice-spacing", "size"))


@pytest.fixture
def card(random_bundle):
    return ModelBundle.open(random_bundle).card


@pytest.fixture
def reviews(maemc_home):
    return Reviews(maemc_home)


@pytest.fixture
def subject(reviews):
    return reviews.subject("1.2.840.99", "Müller RLL", "MRN 4711")


def events(reviews):
    return [json.loads(line)["event"] for line in reviews.log.path.read_text().splitlines()]


def named(home):
    store_observer(home, Observer("Doe^Jane", "General Hospital"))


def test_the_number_stays_hidden_until_the_estimate_is_stored(reviews, subject, card):
    reviews.reader_first = True
    assert reviews.of(subject.nodule).state == CONCEALED and not reviews.may_show(subject.nodule, RESULT)
    assert "own estimate" in reviews.hidden_because(subject.nodule, RESULT.gate, RESULT.gate_reasons)
    with pytest.raises(UsageError, match="own estimate"):
        reviews.reveal(subject, RESULT, card)
    with pytest.raises(UsageError, match="own estimate"):
        reviews.reveal(subject, RED, card, show_anyway=True)  # a red gate is no way around
    reviews.estimate(subject, 65)
    assert reviews.of(subject.nodule).state == ESTIMATED and not reviews.may_show(subject.nodule, RESULT)
    reviews.reveal(subject, RESULT, card)
    assert reviews.of(subject.nodule).state == REVEALED and reviews.may_show(subject.nodule, RESULT)
    assert reviews.of(subject.nodule).estimate_percent == 65
    assert events(reviews) == ["estimated", "revealed"]
    with pytest.raises(UsageError, match="shown already"):
        reviews.estimate(subject, 10)
    moved = replace(RESULT, probability=0.2, point_lps=(2.0, -2.5, 3.25))
    assert reviews.may_show(subject.nodule, moved)  # what was seen once is not unseen
    other = reviews.subject("1.2.840.99", "N2")
    assert not reviews.may_show(other.nodule, RESULT)


def test_no_order_of_steps_shows_a_number_before_the_estimate(tmp_path, card):
    """All orders of five steps, with another process's in between: in the log an estimate precedes every number."""
    steps = {
        "estimate": lambda one, subject: one.estimate(subject, 30),
        "reveal": lambda one, subject: one.reveal(subject, RESULT, card),
        "anyway": lambda one, subject: one.reveal(subject, RED, card, show_anyway=True),
        "outcome": lambda one, subject: one.outcome(subject.nodule, "benign"),
        "accept": lambda one, subject: one.decide(subject.nodule, "accepted"),
    }
    home = tmp_path / "home"
    named(home)
    one, other = Reviews(home), Reviews(home)
    one.reader_first = True
    for number, order in enumerate(itertools.permutations(steps)):
        subject = one.subject("volume", str(number))
        for place, name in enumerate(order):
            acting = (one, other)[place % 2]
            before = [acting.may_show(subject.nodule, result) for result in (RESULT, RED)]
            try:
                steps[name](acting, subject)
                done = True
            except UsageError:
                done = False
            one.refresh()
            estimated = order.index("estimate") <= place
            review = one.of(subject.nodule)
            assert estimated or not (any(before) or review.results or review.decision)
            if done and name == "anyway":
                assert one.may_show(subject.nodule, RED)
        assert one.of(subject.nodule).estimate_percent == 30
        assert all(line.get("event") != "revealed" or estimated for line in one.of(subject.nodule).results)
    assert one.log.unchained == one.log.damaged == []


def test_of_two_windows_the_first_estimate_counts(maemc_home, card):
    one, other = Reviews(maemc_home), Reviews(maemc_home)
    subject = one.subject("v", "n")
    one.estimate(subject, 20)
    with pytest.raises(UsageError, match="stored already"):
        other.estimate(subject, 90)
    # At the very same time both would write: the order in the log decides.
    other.log.append("estimated", {"nodule": subject.nodule, "percent": 90})
    one.reveal(subject, RESULT, card)
    assert Reviews(maemc_home).of(subject.nodule).estimate_percent == 20


def test_an_estimate_that_cannot_be_stored_leaves_the_number_hidden(reviews, subject, maemc_home, card):
    reviews.reader_first = True
    (maemc_home / "audit.jsonl").mkdir()
    with pytest.raises(InputError, match="audit log"):
        reviews.estimate(subject, 40)
    assert not reviews.may_show(subject.nodule, RESULT)


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), True, "40", None])
def test_an_estimate_is_a_percentage(reviews, subject, percent):
    with pytest.raises(UsageError, match="0 to 100"):
        reviews.estimate(subject, percent)
    assert not reviews.log.path.exists()


def test_without_reader_first_numbers_are_shown_and_an_estimate_comes_too_late(reviews, subject, card):
    assert not reviews.reader_first and reviews.may_show(subject.nodule, RESULT)
    reviews.reveal(subject, RESULT, card)
    reviews.reader_first = True
    assert reviews.may_show(subject.nodule, RESULT) and Reviews(reviews.home).reader_first
    with pytest.raises(UsageError, match="shown already"):
        reviews.estimate(subject, 10)


def test_an_estimate_after_the_outcome_is_none(reviews, subject):
    reviews.log.append("outcome", {"nodule": subject.nodule, "outcome": "malignant"})
    with pytest.raises(UsageError, match="outcome is known"):
        reviews.estimate(subject, 100)


def test_a_red_gate_hides_the_number_until_it_is_overridden_and_that_is_logged(reviews, subject, card):
    assert "slice-spacing" in reviews.hidden_because(subject.nodule, RED.gate, RED.gate_reasons)
    with pytest.raises(UsageError, match="Show anyway"):
        reviews.reveal(subject, RED, card)
    reviews.reveal(subject, RED, card, show_anyway=True)
    assert reviews.may_show(subject.nodule, RED)
    (entry,) = map(json.loads, reviews.log.path.read_text().splitlines())
    assert entry["override"] is True and entry["gate_reasons"] == ["slice-spacing", "size"]
    worse = replace(RED, gate_reasons=("slice-spacing", "size", "calcium"))
    assert not reviews.may_show(subject.nodule, worse)  # other reasons are another decision


def test_one_number_is_written_down_once_and_another_is_not_decided_on(reviews, subject, card, maemc_home):
    named(maemc_home)
    for _ in range(3):
        reviews.reveal(subject, RESULT, card)
    assert events(reviews) == ["revealed"]
    reviews.decide(subject.nodule, "accepted")
    assert reviews.of(subject.nodule).decision["decision"] == "accepted"
    reviews.reveal(subject, replace(RESULT, probability=0.2), card)
    assert reviews.of(subject.nodule).decision is None and events(reviews) == ["revealed", "decided", "revealed"]


def test_decisions_name_who_decided_what_on_which_number(reviews, subject, card, maemc_home):
    with pytest.raises(UsageError, match="not shown yet"):
        reviews.decide(subject.nodule, "accepted")
    reviews.reveal(subject, RESULT, card)
    with pytest.raises(UsageError, match="Nobody is named"):
        reviews.decide(subject.nodule, "accepted")
    named(maemc_home)
    reviews.decide(subject.nodule, "corrected", ["outline", "probability"], percent=35, prevalence=0.23)
    reviews.decide(subject.nodule, "rejected")
    decided = [json.loads(line) for line in reviews.log.path.read_text().splitlines()][1:]
    assert [one["decision"] for one in decided] == ["corrected", "rejected"]
    assert decided[0]["corrected"] == ["outline", "probability"] and decided[0]["percent"] == 35
    assert decided[0]["prevalence"] == 0.23 and decided[0]["result"]["probability"] == 0.83
    assert decided[0]["result"]["model"]["sha256"] == card.sha256
    assert decided[0]["observer"] == read_observer(maemc_home).pseudonym(pseudonym_key(maemc_home))
    assert reviews.of(subject.nodule).decision["decision"] == "rejected"


@pytest.mark.parametrize(
    ("decision", "arguments", "said"),
    [
        ("approved", {}, "no decision"),
        ("corrected", {}, "names what was corrected"),
        ("accepted", {"corrected": ["point"]}, "nothing else"),
        ("corrected", {"corrected": ["color"]}, "point, outline"),
        ("corrected", {"corrected": ["probability"]}, "reader's own"),
        ("corrected", {"corrected": ["probability"], "percent": 120}, "0 to 100"),
        ("accepted", {"percent": 20}, "correction alone"),
    ],
)
def test_what_is_no_decision_is_refused(reviews, subject, card, decision, arguments, said):
    reviews.reveal(subject, RESULT, card)
    with pytest.raises(UsageError, match=said):
        reviews.decide(subject.nodule, decision, **arguments)
    assert events(reviews) == ["revealed"]


def test_outcomes_come_later_and_the_last_one_counts(reviews, subject, card):
    with pytest.raises(UsageError, match="knows no nodule"):
        reviews.outcome(subject.nodule, "benign")
    reviews.reveal(subject, RESULT, card)
    tomorrow = (datetime.date.today() + datetime.timedelta(days=1)).isoformat()
    for outcome, date, said in [
        ("cancer", None, "no outcome"),
        ("benign", "1.2.2026", "YYYY-MM-DD"),
        ("benign", "20260102", "YYYY-MM-DD"),
        ("benign", tomorrow, "up to today"),
    ]:
        with pytest.raises(UsageError, match=said):
            reviews.outcome(subject.nodule, outcome, date)
    reviews.outcome(subject.nodule, "benign", "2026-01-02")
    reviews.outcome(subject.nodule, "malignant")
    review = Reviews(reviews.home).of(subject.nodule)
    assert (review.outcome, review.outcome_date) == ("malignant", None)


def test_what_was_not_scored_cannot_be_shown(reviews, subject, card):
    with pytest.raises(UsageError, match="not scored"):
        reviews.reveal(subject, replace(RESULT, status="failed", probability=None), card)


def test_the_facts_let_a_number_be_computed_again(reviews, subject, card):
    reviews.reveal(subject, RESULT, card)
    (entry,) = map(json.loads, reviews.log.path.read_text().splitlines())
    assert entry["model"]["id"] == "random" and entry["model"]["version"] == "1.0"
    assert entry["model"]["weights"] == [card.files[f"classifier-{n}.safetensors"]["sha256"] for n in range(3)]
    assert entry["preprocessing"] == card.values["preprocessing"] and entry["scoring_release"] == SCORING_RELEASE
    assert entry["point_lps"] == [1.0, -2.5, 3.25] and entry["software"] == RESULT.software
    assert entry["input_sha256"] == "ab" * 32 and entry["gate"] == "green" and entry["override"] is False


def test_nothing_that_names_anybody_is_in_the_log(reviews, subject, card, maemc_home):
    named(maemc_home)
    reviews.estimate(subject, 50)
    reviews.reveal(subject, RED, card, show_anyway=True)
    reviews.decide(subject.nodule, "accepted")
    reviews.outcome(subject.nodule, "benign")
    text = reviews.log.path.read_text()
    for word in ("Müller", "M\\u00fcller", "1.2.840", "MRN", "Doe", "General", "8765.4", "age", str(maemc_home)):
        assert word not in text, word
    assert subject.nodule in text and subject.volume in text and subject.patient in text
    assert "Doe" in (maemc_home / "observer.json").read_text()
    other = Reviews(maemc_home.with_name("elsewhere")).subject("1.2.840.99", "Müller RLL", "MRN 4711")
    assert {other.nodule, other.volume, other.patient}.isdisjoint({subject.nodule, subject.volume, subject.patient})


def test_strange_entries_change_nothing(reviews, subject):
    for entry in [
        {"percent": "40"},
        {"percent": 140},
        {"percent": None},
        {},
    ]:
        reviews.log.append("estimated", {"nodule": subject.nodule, **entry})
    reviews.log.append("revealed", {"nodule": subject.nodule, "model": "m", "probability": 0.3})
    reviews.log.append("revealed", {"nodule": subject.nodule, "model": {}, "probability": "0.3"})
    reviews.log.append("decided", {"nodule": subject.nodule, "decision": ["accepted"]})
    reviews.log.append("outcome", {"nodule": subject.nodule, "outcome": {"benign": 1}})
    reviews.log.append("of a newer MAEMC", {"nodule": subject.nodule})
    reviews.log.append("estimated", {"nodule": 3, "percent": 40})
    reviews.refresh()
    review = reviews.of(subject.nodule)
    assert (review.state, review.results, review.decision, review.outcome) == (CONCEALED, (), None, None)
    assert len(reviews.all()) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 200)
    | st.floats(-1, 200)
    | st.sampled_from(["benign", "accepted", "", "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["sha256", "id", "decision"]), inner),
    max_leaves=4,
)
FIELDS = (
    "percent",
    "model",
    "probability",
    "gate",
    "gate_reasons",
    "decision",
    "outcome",
    "date",
    "volume",
    "override",
)


@given(st.lists(st.tuples(st.sampled_from(["estimated", "revealed", "decided", "outcome"]),
                          st.dictionaries(st.sampled_from(FIELDS), JSON)), max_size=6))  # fmt: skip
def test_whatever_the_entries_hold_reviews_can_be_listed_and_drawn(entries):
    review = Review("N1")
    for event, fields in entries:
        review = review.after({"event": event, "time": "", **fields})
    assert review.estimate_percent is None or 0 <= review.estimate_percent <= 100
    assert (review.state == REVEALED) == bool(review.results)
    assert render(Report("", [Section("", [Table([review_row(review)])])]), "txt")
    assert local_calibration([review], "ab").model.n <= 1


def test_the_setting_makes_its_home(tmp_path):
    Reviews(tmp_path / "new" / "home").reader_first = True
    assert Reviews(tmp_path / "new" / "home").reader_first


def test_slicer_s_process_needs_neither_torch_nor_simpleitk():
    code = (
        "import sys\nimport MAEMCLib.review.reviews, MAEMCLib.review.local_calibration, MAEMCLib.models.prevalence\n"
        "print([m for m in ('torch', 'SimpleITK', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
