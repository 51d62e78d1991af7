"""Reservations as rows: asked for once however often, given within what there is, kept, lost, released."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from learnloop.capacity import reservations
from learnloop.capacity.amounts import Amounts, Node
from learnloop.capacity.deciding import EVERY, HANDOVER, PATIENCE, Machines, Occupant, claim, decide_all
from learnloop.capacity.policy import Rules
from learnloop.capacity.reservations import Holder, Standing, Wanted, ask, begin, release
from learnloop.database import Capacity, Reservation, engine
from learnloop.jobs.namespace import kubernetes_name

RUNNER = "kubernetes"
CORE = Amounts(1000, 2**30, 0)


def wanted(key: str, cores: int = 1, *, user: str = "ann", task: str = "", attempt: int = 1, **of: object) -> Wanted:
    holder = Holder("dag", "run", task or f"task-{key}", -1, attempt)
    amounts = Amounts(cores * 1000, 2**30, 0)
    return replace(Wanted(RUNNER, user, key, amounts, 3600, 0, None, holder), **of)


def cluster(cores: int = 4, *occupants: Occupant) -> Machines:
    total = Amounts(cores * 1000, 16 * 2**30, 0)
    return Machines([Node("n1", total, total)], occupants)


def decided(db: Session, machines: Machines | None = None, rules: Rules | None = None) -> list[str]:
    """The keys that are admitted by a decision now."""
    found = decide_all(db, RUNNER, machines or cluster(), rules or Rules())
    db.commit()
    given = [int(one.key) for one in found if one.place == 0]
    return list(db.scalars(select(Reservation.key).where(Reservation.id.in_(given)).order_by(Reservation.id)))


def asked(db: Session, one: Wanted) -> Standing:
    standing = ask(db, one)
    db.commit()
    return standing


def age(db: Session, column: str, by: timedelta) -> None:
    db.execute(update(Reservation).values({column: getattr(Reservation, column) - by}))
    db.commit()


def test_a_job_has_one_reservation_however_often_it_is_asked_for(db: Session) -> None:
    first = asked(db, wanted("a"))
    assert str(first) == "in line: not looked at yet"
    assert asked(db, wanted("a")).id == first.id
    assert decided(db) == ["a"]
    assert decided(db) == []
    standing = asked(db, wanted("a"))
    assert (standing.id, standing.given, str(standing)) == (first.id, True, "admitted: there is room on n1")
    assert begin(db, first.id)
    assert begin(db, first.id)
    assert db.scalar(select(func.count()).select_from(Reservation)) == 1


def test_what_is_full_is_waited_for_with_place_and_reason(db: Session) -> None:
    for key in "abc":
        asked(db, wanted(key, 3))
    assert decided(db) == ["a"]
    assert str(asked(db, wanted("c", 3))).startswith(
        "place 2 of 2 in line: it needs 3 cores, 1 GiB on one node; planned for"
    )
    assert release(db, RUNNER, [wanted("a").holder]) == 1
    assert release(db, RUNNER, [wanted("a").holder]) == 0
    assert decided(db) == ["b"]
    assert str(asked(db, wanted("c", 3))).startswith("place 1 of 1 in line")


def test_others_pods_count_and_a_jobs_own_pod_does_not_count_twice(db: Session) -> None:
    asked(db, wanted("a", 2))
    assert decided(db) == ["a"]
    mine = Occupant(kubernetes_name("job", "ann", "a"), "n1", Amounts(2000, 2**30, 0))
    asked(db, wanted("b", 2))
    foreign = Occupant(None, "n1", CORE)
    assert decided(db, cluster(4, mine, foreign)) == []
    pools = db.scalars(select(Capacity.report)).all()
    claim(db, RUNNER)
    decided(db, cluster(4, mine, foreign))
    (report,) = db.scalars(select(Capacity.report))
    assert (pools, report["pools"][0]["others"]["cpu"]) == ([], 1000)
    assert decided(db, cluster(4, mine)) == ["b"]


def test_a_pod_whose_reservation_is_gone_still_counts(db: Session) -> None:
    """Released by mistake or by hand, it takes nobody's room."""
    asked(db, wanted("a", 3))
    decided(db)
    release(db, RUNNER, [wanted("a").holder])
    left = Occupant(kubernetes_name("job", "ann", "a"), "n1", Amounts(3000, 2**30, 0))
    asked(db, wanted("b", 2))
    assert decided(db, cluster(4, left)) == []
    assert decided(db, cluster(4)) == ["b"]


def test_a_second_task_with_the_same_job_gets_no_second_reservation(db: Session) -> None:
    asked(db, wanted("a"))
    decided(db)
    other = asked(db, wanted("a", task="other"))
    assert not other.given
    assert str(other) == "another task has the same job in line: waiting for its result"
    release(db, RUNNER, [wanted("a").holder])
    assert asked(db, wanted("a", task="other")).mine


def test_a_new_try_asks_anew_and_for_what_it_needs_now(db: Session) -> None:
    first = asked(db, wanted("a"))
    decided(db)
    second = asked(db, wanted("a", 2, attempt=2))
    assert (second.mine, second.state, second.id != first.id) == (True, "waiting", True)
    assert not begin(db, first.id)  # what is left of the first try starts nothing
    assert db.scalar(select(Reservation.cpu).where(Reservation.id == second.id)) == 2000
    assert not asked(db, wanted("a")).mine
    assert decided(db) == ["a"]


def test_who_has_fallen_silent_is_passed_over_and_keeps_the_place(db: Session) -> None:
    asked(db, wanted("a", 4))
    age(db, "seen_at", PATIENCE + timedelta(seconds=1))
    asked(db, wanted("b", 4))
    assert decided(db) == ["b"]
    release(db, RUNNER, [wanted("b").holder])
    asked(db, wanted("c", 4))
    asked(db, wanted("a", 4))
    assert decided(db) == ["a"]


def test_what_is_given_and_not_taken_up_goes_to_others(db: Session) -> None:
    first = asked(db, wanted("a", 4))
    asked(db, wanted("b", 4))
    assert decided(db) == ["a"]
    for column in ("seen_at", "admitted_at"):
        age(db, column, HANDOVER + timedelta(seconds=1))
    asked(db, wanted("b", 4))
    assert decided(db) == ["b"]
    assert not begin(db, first.id)
    assert asked(db, wanted("a", 4)).state == "waiting"


def test_what_has_begun_is_kept_however_silent_it_is(db: Session) -> None:
    """A triggerer may be away for long, and the pod runs on."""
    first = asked(db, wanted("a", 4))
    decided(db)
    assert begin(db, first.id)
    for column in ("seen_at", "admitted_at", "begun_at"):
        age(db, column, timedelta(days=2))
    asked(db, wanted("b", 4))
    assert decided(db) == []


def test_what_was_held_lately_counts_and_fades(db: Session) -> None:
    """The whole node for an hour, an hour ago: half an hour and more to wait. Days ago: nothing any more."""
    for since, first in ((timedelta(hours=2), "b"), (timedelta(days=3), "a")):
        db.execute(delete(Reservation))
        asked(db, wanted("old", 4))
        decided(db)
        release(db, RUNNER, [wanted("old").holder])
        age(db, "admitted_at", since)
        age(db, "released_at", since - timedelta(hours=1))
        asked(db, wanted("a", 4))
        age(db, "created_at", timedelta(minutes=20))
        asked(db, wanted("b", 4, user="ben"))
        assert decided(db) == [first]


def test_one_of_many_makes_a_decision_and_a_release_makes_the_next_due(db: Session, database_url: str) -> None:
    def ask_whether_due(_: int) -> bool:
        with Session(engine(database_url)) as own, own.begin():
            return claim(own, RUNNER)

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(ask_whether_due, range(24)))[True] == 1
    assert not claim(db, RUNNER)
    asked(db, wanted("a"))
    release(db, RUNNER, [wanted("a").holder])
    db.commit()
    assert claim(db, RUNNER)
    db.execute(update(Capacity).values(decided_at=Capacity.decided_at - EVERY))
    assert claim(db, RUNNER)


def test_many_at_once_never_get_more_than_there_is(database_url: str) -> None:
    """Each asks, decides, begins and releases in transactions of its own, in whatever order they come."""
    most = 0

    def work(number: int) -> int:
        nonlocal most
        one = wanted(f"j{number}", 1 + number % 3, user=f"u{number % 4}")
        for _ in range(2000):
            with Session(engine(database_url)) as own, own.begin():
                standing = ask(own, one)
            if standing.given:
                with Session(engine(database_url)) as own, own.begin():
                    assert begin(own, standing.id)
                break
            with Session(engine(database_url)) as own, own.begin():
                decide_all(own, RUNNER, cluster(), Rules())
        else:
            raise AssertionError("its turn never came")
        with Session(engine(database_url)) as own, own.begin():
            live = select(func.sum(Reservation.cpu)).where(Reservation.state.in_(("admitted", "begun")))
            most = max(most, int(own.scalar(live) or 0))
        with Session(engine(database_url)) as own, own.begin():
            return release(own, RUNNER, [one.holder])

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(24))) == 24
    assert 0 < most <= 4000


def test_nobody_has_more_jobs_than_are_allowed(db: Session) -> None:
    for key in "abc":
        asked(db, wanted(key))
    assert decided(db, rules=Rules(most=2)) == ["a", "b"]
    assert "ann has 2 jobs, and no more are allowed at once" in str(asked(db, wanted("c")))


def test_old_reservations_are_forgotten_and_live_ones_are_not(db: Session) -> None:
    asked(db, wanted("a"))
    asked(db, wanted("b"))
    release(db, RUNNER, [wanted("a").holder])
    db.commit()
    age(db, "created_at", timedelta(days=99))
    assert reservations.forget(db) == 0
    age(db, "released_at", reservations.KEPT + timedelta(days=1))
    assert reservations.forget(db) == 1
    assert [holder.task_id for _, holder in reservations.held_by(db)] == ["task-b"]
