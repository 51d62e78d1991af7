"""The admission policy: its promises for any cluster and queue, and what it says in plain cases."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.capacity.amounts import Amounts, Node
from learnloop.capacity.policy import Held, Rules, Verdict, Waiting, decide

GIB = 2**30
HOUR = 3600.0


def amounts(cpu: float = 1, memory: float = 1, gpu: int = 0) -> Amounts:
    return Amounts(round(cpu * 1000), round(memory * GIB), gpu)


def node(name: str = "n1", cpu: float = 4, memory: float = 16, gpu: int = 0, **of: object) -> Node:
    return Node(name, amounts(cpu, memory, gpu), amounts(cpu, memory, gpu), **of)


def job(
    key: str, cpu: float = 1, *, user: str = "ann", seconds: float = HOUR, since: float = 0, **of: object
) -> Waiting:
    return Waiting(key, user, amounts(cpu, 1, of.pop("gpu", 0)), seconds, since, **of)


def holds(key: str, cpu: float, ends_at: float, user: str = "ben", on: str | None = "n1", **of: object) -> Held:
    return Held(key, user, amounts(cpu, 1), ends_at, on, **of)


def admitted(verdicts: list[Verdict]) -> list[str]:
    return [one.key for one in verdicts if one.place == 0]


def line(verdicts: list[Verdict]) -> list[str]:
    return [one.key for one in verdicts if one.place]


sizes = st.builds(amounts, st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
pools = st.sampled_from([None, "a", "b"])


@st.composite
def clusters(draw: st.DrawFn) -> dict:
    nodes = [
        Node(f"n{number}", total, total, *draw(st.tuples(pools, st.booleans(), st.booleans())))
        for number, total in enumerate(
            draw(st.lists(st.builds(amounts, st.integers(1, 8), st.integers(1, 8), st.integers(0, 4)), max_size=4))
        )
    ]
    users = st.sampled_from(["ann", "ben", "eve"])
    names = st.sampled_from([*(one.name for one in nodes), "gone", None])
    held = [
        Held(f"h{number}", *of)
        for number, of in enumerate(
            draw(st.lists(st.tuples(users, sizes, st.floats(-50, 300), names, pools), max_size=4))
        )
    ]
    waiting = [
        Waiting(f"w{number}", *of)
        for number, of in enumerate(
            draw(
                st.lists(
                    st.tuples(users, sizes, st.floats(1, 300), st.floats(-500, 0), st.integers(-1000, 1000), pools),
                    max_size=12,
                )
            )
        )
    ]
    rules = Rules(
        draw(st.floats(0, 100)), draw(st.floats(0, 1000)), draw(st.integers(1, 12)), draw(st.none() | st.integers(1, 4))
    )
    return {"nodes": nodes, "held": held, "waiting": waiting, "rules": rules}


@given(clusters())
def test_no_node_is_given_more_than_it_has_and_none_to_a_job_it_does_not_take(cluster: dict) -> None:
    verdicts = decide(0, **cluster)
    asked = {one.key: one for one in cluster["waiting"]}
    for one in cluster["nodes"]:
        here = [asked[verdict.key] for verdict in verdicts if verdict.place == 0 and verdict.node == one.name]
        assert all(one.takes(each.pool, each.amounts) for each in here)
        taken = [each.amounts for each in [*here, *cluster["held"]] if each in here or each.node == one.name]
        if here:
            assert Amounts(*map(sum, zip(*taken, strict=True))).fits(one.free)


@given(clusters())
def test_everybody_gets_one_verdict_and_places_are_counted_through(cluster: dict) -> None:
    verdicts = decide(0, **cluster)
    assert sorted(one.key for one in verdicts) == sorted(one.key for one in cluster["waiting"])
    assert [one.place for one in verdicts if one.place] == list(range(1, 1 + len(line(verdicts))))
    assert all(one.reason for one in verdicts)


@given(clusters())
def test_who_is_behind_delays_nobody_ahead(cluster: dict) -> None:
    """Nobody's planned time changes when those behind them are not there at all: that is what backfill must keep."""
    asked = {one.key: one for one in cluster["waiting"]}
    verdicts = decide(0, **cluster)
    for count in range(len(verdicts)):
        ahead = [asked[one.key] for one in verdicts[:count]]
        assert decide(0, **{**cluster, "waiting": ahead}) == verdicts[:count]


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_what_it_is_given_does_not_matter(cluster: dict, random: Random) -> None:
    here = {one.name for one in cluster["nodes"]}
    held = [one for one in cluster["held"] if one.node in here]  # where one is that nobody has seen is a guess
    again = random.sample(held, len(held)), random.sample(cluster["waiting"], len(cluster["waiting"]))
    rules = cluster["rules"]
    assert decide(0, cluster["nodes"], *again, rules) == decide(0, cluster["nodes"], held, cluster["waiting"], rules)


def run_until(key: str, jobs: list[Waiting], nodes: list[Node], rules: Rules, most_events: int = 20_000) -> float:
    """When ``key`` begins, as jobs come at their ``since`` and run as long as they may."""
    coming = sorted(jobs, key=lambda one: one.since, reverse=True)
    waiting: list[Waiting] = []
    held: list[Held] = []
    for _ in range(most_events):
        now = min([*(one.since for one in coming[-1:]), *(one.ends_at for one in held)])
        held = [one for one in held if one.ends_at > now]
        while coming and coming[-1].since <= now:
            waiting.append(coming.pop())
        places = {one.key: one for one in decide(now, nodes, held, waiting, rules) if one.place == 0}
        if key in places:
            return now
        begun = [one for one in waiting if one.key in places]
        held += [Held(one.key, one.user, one.amounts, now + one.seconds, places[one.key].node) for one in begun]
        waiting = [one for one in waiting if one.key not in places]
    raise AssertionError(f"{key} has not begun after {most_events} events, at {now}")


@pytest.mark.parametrize("cpu", [1, 4])
def test_nobody_starves_under_a_stream_of_higher_priority_and_smaller_jobs(cpu: int) -> None:
    """Two jobs a second of the highest priority come for ever for a node that does one a second."""
    rules = Rules(ageing_seconds=0.05, share_seconds=20, window=10)
    stream = [job(f"s{n}", 2, user=f"u{n % 7}", seconds=2, since=n / 2, priority=1000) for n in range(1000)]
    last = job("last", cpu, user="ann", seconds=2, since=10, priority=-1000)
    bound = 10 + 2000 * rules.ageing_seconds + rules.share_seconds  # who comes later goes after it
    backlog = bound * 2 * 2 / (4 / 2)  # those who came before, done two at a time
    begun = run_until("last", [*stream, last], [node()], rules)
    assert begun <= backlog + 4
    assert begun > 100 or cpu == 1  # it did have to wait: the priorities counted


def test_without_ageing_it_would_starve() -> None:
    """So the test above can fail."""
    stream = [job(f"s{n}", 2, user=f"u{n % 7}", seconds=2, since=n / 2, priority=1000) for n in range(400)]
    last = job("last", 4, seconds=2, since=10, priority=-1000)
    assert run_until("last", [*stream, last], [node()], Rules(ageing_seconds=1e9, window=10)) > 390


def test_first_come_first_served_among_equals() -> None:
    verdicts = decide(0, [node(cpu=2)], [], [job("b", since=-1), job("a", since=-2), job("c", since=0)])
    assert admitted(verdicts) == ["a", "b"]
    assert verdicts[-1].reason == "it needs 1 cores, 1 GiB on one node; planned for 1970-01-01 01:00 UTC, or before"


def test_a_level_of_priority_is_so_many_seconds_of_waiting() -> None:
    rules = Rules(ageing_seconds=60)
    for age, first in ((-119, "high"), (-121, "old")):
        pair = [job("high", user="a", priority=2), job("old", user="b", since=age)]
        assert admitted(decide(0, [node(cpu=1)], [], pair, rules)) == [first]


def test_who_has_less_comes_first() -> None:
    ann = [job(f"a{n}", user="ann", since=-1000) for n in range(4)]
    ben = [job(f"b{n}", user="ben", since=-10) for n in range(4)]
    assert admitted(decide(0, [node()], [], ann + ben, Rules(share_seconds=36000))) == ["a0", "b0", "a1", "b1"]
    held = [holds("h", 2, HOUR, user="ann")]
    assert admitted(decide(0, [node()], held, ann + ben, Rules(share_seconds=36000))) == ["b0", "b1"]


def test_who_has_had_less_lately_comes_first() -> None:
    """Jobs that take the whole cluster in turn leave nobody with anything: then it is the past that counts."""
    waiting = [job("a", 4, user="ann", since=-1000), job("b", 4, user="ben", since=-10)]
    assert admitted(decide(0, [node()], [], waiting)) == ["a"]
    assert admitted(decide(0, [node()], [], waiting, past={"ann": amounts(1, 1)})) == ["b"]
    gpus = [job("a", gpu=1, user="ann", since=-9), job("b", gpu=1, user="ben", since=-1)]
    assert admitted(decide(0, [node(gpu=1)], [], gpus, past={"ann": (0, 0, 0.001)})) == ["b"]  # 22 s: no rounding


def test_backfill_takes_what_ends_in_time_and_nothing_that_would_delay() -> None:
    held = [holds("h", 2, ends_at=100)]
    big = job("big", 4, since=-3)
    short, long = job("short", 1, seconds=100, since=-1), job("long", 1, seconds=101, since=-2)
    verdicts = {one.key: one for one in decide(0, [node()], held, [big, short, long])}
    assert (verdicts["big"].place, verdicts["big"].begins_at) == (1, 100)
    assert verdicts["short"].place == 0
    assert verdicts["long"].place == 2
    assert "there is room now, but it may run for 1.68 min and would delay a job ahead" in verdicts["long"].reason


def test_not_only_the_first_in_line_is_not_delayed() -> None:
    """EASY would let ``c`` go: it does not delay ``a``, but it delays ``b``."""
    nodes = [node("n1", 4), node("n2", 4)]
    held = [holds("h1", 3, 100, on="n1"), holds("h2", 3, 200, on="n2")]
    waiting = [job("a", 4, seconds=500, since=-3), job("b", 4, since=-2), job("c", 1, seconds=150, since=-1)]
    verdicts = {one.key: one for one in decide(0, nodes, held, waiting)}
    assert verdicts["b"].begins_at == 200
    assert verdicts["c"].node == "n2"
    late = decide(0, nodes, held, [*waiting[:2], job("c", 1, seconds=250, since=-1)])
    assert admitted(late) == []


def test_jobs_are_packed_so_that_whole_nodes_stay_free() -> None:
    nodes = [node("empty", 8, gpu=4), node("used", 8, gpu=4)]
    held = [Held("h", "ben", amounts(1, 1, 3), HOUR, "used")]
    assert decide(0, nodes, held, [job("j", gpu=1)])[0].node == "used"


def test_pools_taints_and_gpu_nodes() -> None:
    nodes = [node("any"), node("mine", pool="fast", dedicated=True), node("gpus", gpu=1, gpu_only=True)]
    asked = [job("plain", 3), job("fast", 3, pool="fast"), job("gpu", 3, gpu=1), job("second", 3)]
    found = {one.key: one for one in decide(0, nodes, [], asked)}
    assert {key: one.node for key, one in found.items()} == {
        "plain": "any", "fast": "mine", "gpu": "gpus", "second": None
    }  # fmt: skip
    assert decide(0, nodes, [], [job("j", pool="slow")])[0].reason == "there is no node of pool 'slow'"


def test_a_job_that_no_node_can_take_is_told_so_and_is_in_nobodys_way() -> None:
    verdicts = decide(0, [node()], [], [job("huge", 64, since=-9), job("small")])
    assert admitted(verdicts) == ["small"]
    assert verdicts[0].reason == (
        "it needs 64 cores, 1 GiB, and no node is that large: the largest has 4 cores, 16 GiB"
    )
    foreign = node()._replace(free=amounts(1, 16))
    assert "what is not learnloop's holds that" in decide(0, [foreign], [], [job("j", 4)])[0].reason


def test_nobody_has_more_jobs_than_are_allowed() -> None:
    waiting = [*(job(f"a{n}") for n in range(4)), *(job(f"s{n}", user="service") for n in range(2))]
    verdicts = decide(0, [node(cpu=9)], [], waiting, Rules(most=2, exempt=frozenset({"service"})))
    assert sorted(admitted(verdicts)) == ["a0", "a1", "s0", "s1"]
    assert verdicts[-1].reason == "ann has 2 jobs, and no more are allowed at once (jobs_per_user)"


def test_past_the_window_nobody_is_let_in() -> None:
    """For nobody could say whom it would delay."""
    big = [job(f"b{n}", 4, since=-10 + n) for n in range(3)]
    held = [holds("h", 2, HOUR)]
    small = job("small", 1, seconds=1)
    assert admitted(decide(0, [node()], held, [*big, small], Rules(window=4))) == ["small"]
    verdicts = decide(0, [node()], held, [*big, small], Rules(window=3))
    assert admitted(verdicts) == []
    assert verdicts[-1].reason == "3 jobs before it wait for room: it is planned once fewer do"


def test_a_job_past_its_end_still_holds_its_place() -> None:
    verdicts = decide(1000, [node()], [holds("late", 4, ends_at=10)], [job("j")])
    assert (verdicts[0].place, verdicts[0].begins_at) == (1, 1060)
