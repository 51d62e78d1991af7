"""The plot of accuracy against labels: points inside it, on round ticks, said in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from learnloop.loop.decisions import CurvePoint
from learnloop_airflow.views.curve import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, curve

POINTS = st.builds(
    CurvePoint,
    st.integers(0, 99),
    st.integers(1, 10**7),
    st.floats(0, 1),
    st.sampled_from(["accepted", "rejected", "failed"]),
)


@given(st.lists(POINTS, min_size=1, max_size=20))
def test_every_point_is_inside_and_ticks_are_in_order(points: list[CurvePoint]) -> None:
    found = curve(points)
    assert found is not None
    for dot in found.dots:
        assert LEFT <= dot.x <= WIDTH - RIGHT
        assert TOP <= dot.y <= HEIGHT - BOTTOM
    for ticks in (found.across, found.up):
        assert 2 <= len(ticks) <= 14
        said = [tick.said for tick in ticks]
        assert len(set(said)) == len(said)
        places = [tick.at for tick in ticks]
        assert places in (sorted(places), sorted(places, reverse=True))


def test_the_line_leads_through_what_was_accepted() -> None:
    found = curve(
        [CurvePoint(0, 60, 0.8, "accepted"), CurvePoint(1, 100, 0.7, "rejected"), CurvePoint(2, 140, 0.9, "accepted")]
    )
    assert found is not None
    assert found.line == f"{found.dots[0].x},{found.dots[0].y} {found.dots[2].x},{found.dots[2].y}"
    assert found.dots[1].said == "round 1, rejected: 70.0% with 100 labels"
    assert [tick.said for tick in found.across] == ["60", "80", "100", "120", "140"]
    assert [tick.said for tick in found.up] == ["70%", "75%", "80%", "85%", "90%"]


def test_one_round_stands_in_the_middle_of_a_scale_that_can_be_read() -> None:
    found = curve([CurvePoint(0, 60, 0.892, "accepted")])
    assert found is not None
    assert [tick.said for tick in found.across] == ["50", "55", "60", "65", "70"]
    assert [tick.said for tick in found.up] == ["87%", "88%", "89%", "90%", "91%", "92%"]


def test_without_a_round_there_is_no_plot() -> None:
    assert curve([]) is None
