"""Growth between two CTs against known doubling times, what is refused, and which nodule of the prior is proposed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.examination import Examination
from MAEMCLib.measures.axes import Axes
from MAEMCLib.measures.growth import Interval, growth, interval
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measures import Measures, measure
from MAEMCLib.measures.prior import NEAR_MM, Proposal, proposals, to_prior
from MAEMCLib.measures.view import place_of, plane_views

POINTS = np.zeros((2, 3))


def measured(volume=500.0, long=10.0, short=None, composition="solid", solid_long=None, status="whole") -> Measures:
    axes = Axes(long, long if short is None else short, POINTS, POINTS, 0)
    return Measures(axes, volume, 30.0, (0.0, 60.0), composition, 1.0, solid_long, 0.0, status)


def ball_ct(radius, spacing=(0.7, 0.7, 1.0), center=(1.0, -2.0, 3.0), examination=None) -> tuple[CTVolume, NoduleMask]:
    """A solid ball in lung and its mask."""
    shape = (60, 84, 84)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.asarray(center) - np.asarray(spacing) * (np.array(shape[::-1]) - 1) / 2
    k, j, i = np.indices(shape)
    places = np.stack([i, j, k], axis=-1) * spacing + affine[:3, 3]
    inside = np.linalg.norm(places - center, axis=-1) <= radius
    volume = CTVolume(np.where(inside, 40, -860).astype(np.int16), affine, examination=examination or Examination())
    return volume, NoduleMask.at(inside, affine, center)


def sphere(diameter):
    return measured(np.pi / 6 * diameter**3, diameter)


def test_doubling_times():
    """clinical.md 2.7."""
    found = growth(measured(200.0), measured(300.0), Interval(90))
    assert found.doubling_time_days == pytest.approx(153.86, abs=0.005)
    assert found.volume_change_percent == pytest.approx(50.0)
    assert found.volumes_mm3 == (200.0, 300.0) and found.days == 90
    assert growth(sphere(8.0), sphere(10.0), Interval(180)).doubling_time_days == pytest.approx(186.38, abs=0.005)


def test_two_balls_are_measured_and_compared():
    """A ball of twice the volume doubles in the days between, within what voxels allow."""
    volumes = [ball_ct(6.0), ball_ct(6.0 * 2 ** (1 / 3))]
    prior, current = (measure(volume, mask) for volume, mask in volumes)
    found = growth(prior, current, Interval(100))
    assert found.doubling_time_days == pytest.approx(100.0, rel=0.03)
    assert found.diameter_change_mm == pytest.approx(12.0 * (2 ** (1 / 3) - 1), abs=0.7)
    assert found.lung_rads_growth and not found.within_error and found.category == "<= 400 days"
    for volume, mask in volumes:
        axes = measure(volume, mask).axes
        views = plane_views(volume, place_of(mask, axes), mask, axes)
        assert list(views) == ["axial", "coronal", "sagittal"]
        for view in views.values():
            area = (view.inside > 0.5).sum() * 0.25**2
            assert area == pytest.approx(mask.array.sum(axis=(1, 2)).max() * 0.7**2, rel=0.08)
            assert view.hu[100, 100] == pytest.approx(40.0) and view.hu[2, 2] == pytest.approx(-860.0)
        long, short = views["axial"].axes
        assert np.linalg.norm(long[1] - long[0]) == pytest.approx(measure(volume, mask).axes.long_mm)
        assert abs((long[1] - long[0]) @ (short[1] - short[0])) < 1e-6 and not views["coronal"].axes


@pytest.mark.parametrize(
    ("first", "second", "within", "words"),
    [
        (100, 124.9, True, "within measurement error"),
        (100, 125, False, "doubling time"),
        (100, 75.1, True, "within measurement error"),
        (100, 75, False, "smaller"),
        (100, 100, True, "within measurement error"),
    ],
)
def test_a_quarter_of_the_volume_is_measurement_error(first, second, within, words):
    found = growth(measured(first), measured(second), Interval(90))
    assert found.within_error is within and words in found.sentence
    assert (found.doubling_time_days is None) is (second <= first)


@pytest.mark.parametrize(
    ("first", "second", "days", "grown", "change"),
    [
        ((8.0, 8.0), (9.5, 9.5), 90, False, 1.5),
        ((8.0, 8.0), (9.6, 9.6), 90, True, 1.6),
        ((8.04, 8.04), (9.55, 9.55), 90, True, 1.6),  # as reported, to one decimal: 8.0 and 9.6
        ((8.06, 8.06), (9.57, 9.57), 90, False, 1.5),  # 8.1 and 9.6
        ((9.0, 7.0), (12.0, 7.2), 366, True, 1.6),
        ((9.0, 7.0), (12.0, 7.2), 367, None, 1.6),
        ((9.0, 7.0), (9.0, 7.0), 367, False, 0.0),
        ((9.0, 7.0), (5.0, 5.0), 30, False, -3.0),
    ],
)
def test_growth_of_lung_rads(first, second, days, grown, change):
    found = growth(measured(300.0, *first), measured(330.0, *second), Interval(days))
    assert found.lung_rads_growth is grown and found.diameter_change_mm == change
    word = {True: "months): met", False: "months): not met", None: "not decided"}[grown]
    assert word in found.sentence


@pytest.mark.parametrize(("solid", "grown"), [(6.5, False), (6.6, True)])
def test_the_solid_part_counts_too(solid, grown):
    before = measured(600.0, 12.0, composition="part-solid", solid_long=5.0)
    found = growth(before, replace(before, solid_long_axis_mm=solid), Interval(100))
    assert found.lung_rads_growth is grown and found.solid_long_axes_mm == (5.0, solid)
    assert any("solid part changed by" in note for note in found.notes)


def test_notes_on_the_measurements():
    prior = measured(status="wall")
    current = measured(composition="part-solid", solid_long=4.0, status="border")
    found = growth(prior, current, Interval(90, ("said before.",)))
    notes = " ".join(found.notes)
    assert "prior CT borders" in found.sentence and "current CT is cut off" in found.sentence
    for words in ("said before.", "prior CT borders", "current CT is cut off", "was solid and is part-solid"):
        assert words in notes
    subsolid = measured(composition="ground-glass")
    assert "of solid nodules" in growth(subsolid, subsolid, Interval(90)).notes[0]
    assert growth(measured(), measured(), Interval(90)).notes == ()


def test_what_is_written_is_json():
    found = growth(measured(200.0), measured(100.0), Interval(90))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["volumes_mm3"] == [200.0, 100.0] and document["doubling_time_days"] is None
    assert set(document) == set(type(found).__dataclass_fields__)


def test_a_volume_that_none_has_is_refused():
    with pytest.raises(UsageError, match="volumes"):
        growth(measured(0.5), measured(100.0), Interval(90))


def ct(patient="a", day=1000, frame="", step=1.0) -> CTVolume:
    return CTVolume(
        np.full((4, 4, 4), -900, np.int16), np.diag([1, 1, step, 1]), examination=Examination(patient, frame, day)
    )


def test_days_follow_from_the_dates():
    assert interval(ct(), ct(day=1090)) == Interval(90)
    assert interval(ct(), ct(day=1090), days=90.5) == Interval(90.5)


def test_days_that_the_reader_states_count():
    found = interval(ct(), ct(), days=120)  # dates that were replaced by one
    assert found.days == 120 and "dates are 0 days apart" in found.notes[0]
    assert interval(ct(patient="", day=None), ct(day=None), days=120).days == 120


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="same day") as refused:
        interval(ct(), ct())
    assert refused.value.code == "same-day"
    with pytest.raises(InputError, match="90 days later") as refused:
        interval(ct(day=1090), ct())
    assert refused.value.code == "prior-later"
    with pytest.raises(InputError, match="90 days later"):
        interval(ct(day=1090), ct(), days=90)
    for undated in ((ct(day=None), ct()), (ct(), ct(day=None))):
        with pytest.raises(UsageError, match="--days"):
            interval(*undated)
    for days in (0, -3, np.nan, np.inf):
        with pytest.raises(UsageError, match="above 0"):
            interval(ct(), ct(day=1090), days=days)


def test_another_patient_has_to_be_confirmed():
    pair = ct(patient="a"), ct(patient="b", day=1090)
    with pytest.raises(InputError, match="different patients") as refused:
        interval(*pair)
    assert refused.value.code == "other-patient"
    found = interval(*pair, same_patient=True)
    assert found.days == 90 and "confirmed" in found.notes[0]
    unknown = interval(ct(patient=""), ct(day=1090))
    assert "do not say" in unknown.notes[0]
    assert interval(ct(patient=""), ct(day=1090), same_patient=True).notes == ()


@pytest.mark.parametrize(("step", "said"), [(1.5, False), (1.6, True)])
def test_slices_far_from_alike_are_said(step, said):
    for pair in ((ct(), ct(day=1090, step=step)), (ct(step=step), ct(day=1090))):
        assert any("changes a volume" in note for note in interval(*pair).notes) is said


def test_positions_are_comparable_in_one_frame_or_by_a_transform():
    assert np.array_equal(to_prior(ct(frame="f"), ct(frame="f")), np.eye(4))
    for other in (ct(frame="g"), ct(frame=""), ct(patient="b", frame="f")):
        assert to_prior(ct(frame="f"), other) is None
    assert to_prior(ct(), ct()) is None
    moved = np.eye(4)
    moved[:3, 3] = 5
    assert np.array_equal(to_prior(ct(frame="f"), ct(frame="g"), moved), moved)
    for bad in (np.eye(3), np.full((4, 4), np.nan), np.diag([1, 1, 0, 1]), np.diag([1, 1, 1, 2])):
        with pytest.raises(UsageError, match="transform"):
            to_prior(ct(), ct(), bad)


def test_the_nearest_nodule_is_proposed_and_none_twice():
    current = {"N1": (0, 0, 0), "N2": (8, 0, 0), "N3": (100, 0, 0)}
    prior = {"A": (5, 0, 0), "B": (0, 200, 0)}
    assert proposals(current, prior, np.eye(4)) == {"N2": Proposal("A", 3.0)}
    assert proposals(current, prior, None) == {} == proposals({}, prior, np.eye(4)) == proposals(current, {}, np.eye(4))


def test_a_transform_leads_to_the_prior():
    """A quarter turn about S and a shift: L 10 of the current CT is P 10 of the prior, 50 mm higher."""
    turned = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 50], [0, 0, 0, 1.0]])
    assert proposals({"N1": (10, 0, 0)}, {"A": (10, 0, 0), "B": (0, 11, 50)}, turned) == {"N1": Proposal("B", 1.0)}


@pytest.mark.parametrize(("distance", "found"), [(NEAR_MM, True), (NEAR_MM + 0.01, False)])
def test_what_is_far_is_not_proposed(distance, found):
    assert bool(proposals({"N1": (0, 0, 0)}, {"A": (0, 0, distance)}, np.eye(4))) is found


def test_proposals_equal_a_slow_search():
    rng = np.random.default_rng(0)
    current = {f"N{n}": tuple(rng.uniform(0, 60, 3)) for n in range(40)}
    prior = {f"P{n}": tuple(rng.uniform(0, 60, 3)) for n in range(30)}
    expected = {}
    for name, place in current.items():
        nearest = min(prior, key=lambda other: np.linalg.norm(np.subtract(place, prior[other])))
        back = min(current, key=lambda other: np.linalg.norm(np.subtract(current[other], prior[nearest])))
        distance = np.linalg.norm(np.subtract(place, prior[nearest]))
        if back == name and distance <= 10:
            expected[name] = (nearest, pytest.approx(distance))
    found = proposals(current, prior, np.eye(4), near_mm=10)
    assert {name: (one.name, one.distance_mm) for name, one in found.items()} == expected and len(expected) > 5
