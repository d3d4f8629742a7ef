"""How near its edge a nodule is, and whether the measured error crosses it."""

import pytest
from MAEMCLib.clinical.scores import SCORES


def edge(name, **values):
    return SCORES[name].evaluate(values).edge


def lung_rads(long, short, **more):
    return edge("lung-rads", type="solid", long_mm=long, short_mm=short, **more)


@pytest.mark.parametrize(
    ("size", "category", "at"),
    [(6.4, "2", 5.95), (7.5, "4A", 7.95), (5.0, "3", 5.95), (14.0, "4B", 14.95), (20.0, "4A", 14.95)],
)
def test_the_nearest_edge_of_lung_rads(size, category, at):
    """The size is rounded to a tenth: 5.95 mm is 6.0 mm."""
    found = lung_rads(size, size)
    assert found.category == category and found.at == pytest.approx(at, abs=0.002)
    assert found.distance == pytest.approx(abs(size - at), abs=0.002) and found.measure == "mean diameter"


def test_the_edge_is_where_the_category_changes():
    """At every size the category changes at the edge, and nowhere nearer."""
    for tenth in range(35, 180, 7):
        size = tenth / 10
        found = lung_rads(size, size)

        def category_at(other):
            values = {"type": "solid", "long_mm": other, "short_mm": other}
            return SCORES["lung-rads"].evaluate(values).category

        way = 1 if found.at > size else -1
        assert category_at(found.at + way * 0.001) == found.category != category_at(size)
        assert category_at(found.at - way * 0.001) == category_at(size)
        assert category_at(size - way * (found.distance - 0.002)) == category_at(size)


@pytest.mark.parametrize(("error", "within"), [(None, None), (0, False), (0.4, False), (0.46, True), (3, True)])
def test_the_measurement_error_decides_whether_the_category_is_certain(error, within):
    found = lung_rads(7.5, 7.5, error_mm=error)
    assert found.within_error is within and found.error == error
    words = {None: "not known here", False: "beyond the measurement error", True: "may be the other one"}[within]
    assert words in found.text and "4A" in found.text


def test_three_tools_that_differ_by_half_a_millimeter_are_told_apart():
    assert lung_rads(8.4, 7.8, error_mm=0.5).within_error and not lung_rads(11, 11, error_mm=0.5).within_error


def test_both_sizes_of_a_part_solid_nodule_have_edges():
    given = {"type": "part-solid", "short_mm": 12, "long_mm": 12}
    solid = edge("lung-rads", **given, solid_mm=5.5)
    assert (solid.measure, solid.category) == ("solid part", "4A") and solid.at == pytest.approx(5.95, abs=0.002)
    whole = edge("lung-rads", type="part-solid", long_mm=6.2, short_mm=6.2, solid_mm=1)
    assert (whole.measure, whole.category) == ("mean diameter", "2")


@pytest.mark.parametrize(
    ("size", "at", "category"),
    [
        (5.4, 5.5, "single solid, 6-8 mm, low risk"),
        (7.2, 8.5, "single solid, > 8 mm, low risk"),
        (6, 5.5, "single solid, < 6 mm, low risk"),
    ],
)
def test_the_nearest_edge_of_fleischner(size, at, category):
    found = edge("fleischner", type="solid", long_mm=size, short_mm=size, number="single", risk="low")
    assert found.at == pytest.approx(at, abs=0.002) and found.category == category


def test_no_edge_where_the_advice_stays():
    """Several solid nodules of 6-8 mm and of more than 8 mm are treated alike."""
    found = edge("fleischner", type="solid", long_mm=8.4, short_mm=8.4, number="multiple", risk="low")
    assert found.category == "multiple solid, < 6 mm, low risk"


def test_the_edge_of_a_probability_is_a_size():
    """Mayo, 60 years, never a smoker: 5 % is where 0.1274 d = 6.8272 - 0.0391 * 60 - ln 19."""
    found = edge("mayo", age=60, diameter_mm=14)
    assert found.category == "below 5 % (ACCP)"
    assert found.at == pytest.approx((6.8272 - 0.0391 * 60 - 2.944439) / 0.1274, abs=0.002)
    brock = edge("brock", age=65, sex="female", type="solid", diameter_mm=15, upper_lobe=True, count=1)
    assert brock.category.startswith("below 10 %") and brock.at == pytest.approx(9.533, abs=0.01)


def test_the_edge_of_a_volume_is_that_of_its_sphere():
    found = edge("bts", type="solid", volume_mm3=120, error_mm=1)
    assert found.at == pytest.approx(5.346, abs=0.002) and found.within_error  # (6 * 80 / pi)^(1/3)
    assert edge("bts", type="solid", volume_mm3=120, error_mm=1, diameter_mm=4.9) == found


def test_no_size_no_edge():
    assert edge("herder", pretest=0.2, uptake="faint") is None
    assert edge("lung-rads", finding="none") is None
    stable = {"context": "stable", "previous": "3", "months": 7}
    assert lung_rads(7, 7, **stable) is None
