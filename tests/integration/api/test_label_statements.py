"""How many statements a label costs: annotators wait for them, and one dataset's answers are stored one after the other."""

from __future__ import annotations

from sent_statements import counted
from test_reviews_api import pets  # noqa: F401

AUDIT = 1
CLAIM = 2 + AUDIT
"""The turn and the dataset, a look with the lease."""
BESIDE_GOLD = 1
"""The lease, once it is known that no gold task is due."""
ANSWER = 2 + AUDIT
"""The locks, the answer."""
CONFIRMED = 1
"""What the training policy says."""


def work(client, times: int) -> list[tuple[int, int]]:
    """Claim and answer so often; the numbers of statements. Paying for requests in advance is none of them."""
    found = []
    for _ in range(times):
        with counted() as claim:
            task = client.post("/datasets/pets/tasks/claim").json()
        with counted() as answer:
            assert client.post(f"/tasks/{task['id']}/annotation", json={"label": "cat"}).status_code == 201
        found.append(tuple(sum("rate_limits" not in each for each in sent) for sent in (claim, answer)))
    return found


def test_a_confirmed_label_costs_seven(pets, as_user) -> None:  # noqa: F811
    pets(tasks=12, gold_every=5)
    assert work(as_user("ann", "annotator"), 12) == [(CLAIM, ANSWER + CONFIRMED)] * 12  # and nothing for gold


def test_an_answer_that_waits_for_a_gold_task_costs_seven(pets, as_user) -> None:  # noqa: F811
    pets(tasks=6, gold=2, gold_every=10)
    assert work(as_user("ann", "annotator"), 6) == [(CLAIM + BESIDE_GOLD, ANSWER)] * 6


def test_the_next_task_in_the_answer_costs_no_more_than_a_claim(pets, as_user) -> None:  # noqa: F811
    pets(tasks=3)
    ann = as_user("ann", "annotator")
    task = ann.post("/datasets/pets/tasks/claim").json()["id"]
    with counted() as sent:
        given = ann.post(f"/tasks/{task}/annotation", params={"next": "true"}, json={"label": "dog"}).json()
    assert given["next"]["id"] != task
    assert sum("rate_limits" not in each for each in sent) == ANSWER + CONFIRMED + CLAIM - AUDIT
