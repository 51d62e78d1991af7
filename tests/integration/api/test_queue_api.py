"""Who runs, who waits and why, over the API, as a client and a terminal read it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session
from test_data_cli import run  # noqa: F401 - fixture

from learnloop.capacity.amounts import Amounts, Node
from learnloop.capacity.deciding import Machines, Occupant, claim, decide_all
from learnloop.capacity.policy import Rules
from learnloop.capacity.reservations import Holder, Wanted, ask, begin
from learnloop.commands import common

GIB = 2**30


@pytest.fixture
def line(app: Any, db: Session) -> list[int]:
    """One that runs, one that waits for room, one for another pool; and 0.5 cores of somebody else's."""
    total = Amounts(4000, 16 * GIB, 0)
    machines = Machines([Node("n1", total, total)], [Occupant(None, "n1", Amounts(500, GIB, 0))])
    claim(db, "local")
    made = []
    for name, cores, pool in (("a", 3, None), ("b", 2, None), ("c", 1, "fast")):
        holder = Holder("incremental_training", f"round-pets-{name}", "train", -1, 1)
        wanted = Wanted("local", "ann", name, Amounts(cores * 1000, 2 * GIB, 0), 3600, 0, pool, holder)
        made.append(ask(db, wanted).id)
    decide_all(db, "local", machines, Rules())
    assert begin(db, made[0])
    db.commit()
    return made


def test_the_queue_is_in_order_with_place_and_reason_page_by_page(line: list[int], as_user: Any) -> None:
    client = as_user("sam", "scientist")
    first = client.get("/queue", params={"limit": 2}).json()
    assert [(job["id"], job["state"], job["place"]) for job in first["items"]] == [
        (line[0], "begun", None),
        (line[1], "waiting", 1),
    ]
    assert first["items"][1]["reason"].startswith("it needs 2 cores, 2 GiB on one node; planned for")
    assert first["items"][1]["cpu"] == 2.0
    assert first["items"][0]["node"] == "n1"
    (last,) = client.get("/queue", params={"cursor": first["next"]}).json()["items"]
    assert (last["place"], last["reason"], last["node_pool"]) == (2, "there is no node of pool 'fast'", "fast")
    assert client.get("/queue", params={"cursor": "x"}).status_code == 422


def test_capacity_says_what_there_is_and_who_has_it(line: list[int], as_user: Any) -> None:
    found = as_user("sam", "scientist").get("/capacity").json()
    (pool,) = found["pools"]
    assert (pool["pool"], pool["nodes"]) == (None, 1)
    assert [pool[part]["cpu"] for part in ("total", "others", "held")] == [4.0, 0.5, 3.0]
    assert found["decided_at"]


def test_before_anybody_asked_there_is_nothing_to_show(as_user: Any) -> None:
    client = as_user("sam", "scientist")
    assert client.get("/queue").json() == {"items": [], "next": None}
    assert client.get("/capacity").json() == {"admission": "none", "decided_at": None, "pools": []}


def test_who_may_not_see_runs_may_not_see_their_queue(line: list[int], as_user: Any) -> None:
    for path in ("/queue", "/capacity"):
        assert as_user("vic", "viewer").get(path).status_code == 403
        assert as_user(None).get(path).status_code == 401


def test_the_command_line_shows_both(line: list[int], run: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(common.shown, "width", 250)
    shown = run("sam", "queue").stdout
    assert "runs" in shown
    assert "there is no node of pool 'fast'" in shown
    assert "4 cores, 16.0 GiB" in run("sam", "queue", "--capacity").stdout
    assert '"place": 1' in run("sam", "queue", "--json").stdout
