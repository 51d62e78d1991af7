"""The cheapest plan, against every plan there is; and what it says of itself."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.errors import InvalidInput
from learnloop.jobs.mount import Mount
from learnloop.mounts.costs import class_cost, fits, refusal
from learnloop.mounts.plan import choose
from learnloop.mounts.table import Table, parse_table

SOLD = {
    "cache": {"product": "node-root-disk"},
    "nvme": {"product": "aws-instance-nvme", "storage_class": "nvme"},
    "ssd": {"product": "aws-ebs-gp3", "storage_class": "gp3"},
    "hdd": {"product": "aws-ebs-st1", "storage_class": "st1"},
    "cold-hdd": {"product": "aws-ebs-sc1", "storage_class": "sc1"},
    "nfs": {"product": "aws-efs-standard", "storage_class": "efs"},
    "objects": {"product": "aws-s3-standard", "url": "s3://b/m"},
    "rare-objects": {"product": "aws-s3-standard-ia", "url": "s3://b/r"},
    "archive": {"product": "aws-s3-glacier-ir", "url": "s3://b/a"},
    "rbd": {"product": "ceph-rbd-on-gp3", "storage_class": "rbd"},
    "cephfs": {"product": "cephfs-on-gp3", "storage_class": "cephfs"},
}


def table(**classes: Any) -> Table:
    return parse_table({"currency": "USD", "classes": classes or SOLD}, "the test", "kubernetes")


def mount(name: str = "m", **fields: Any) -> Mount:
    return Mount(**{"name": name, "path": f"/mnt/{name}", "size": "10Gi", **fields})


def own(**fields: Any) -> dict[str, Any]:
    return {
        "provider": "nfs",
        "storage_class": "x",
        "latency_ms": 1,
        "iops": 5000,
        "mib_per_s": 500,
        **fields,
    }


prices = st.integers(0, 40).map(lambda cents: cents / 100)
classes = st.builds(
    lambda gib, read, write, days, pool, capacity, smallest: own(
        price={"gib_month": gib, "read_gib": read, "write_gib": write, "minimum_days": days},
        **({"pool_minimum": f"{pool}Gi"} if pool else {}),
        **({"capacity": f"{capacity}Gi"} if capacity else {}),
        smallest=f"{smallest}Gi",
    ),
    prices,
    prices,
    prices,
    st.sampled_from([0, 0, 30, 90]),
    st.sampled_from([0, 0, 50, 1000]),
    st.sampled_from([0, 0, 20, 60]),
    st.sampled_from([1, 1, 125]),
)
needs = st.builds(
    lambda size, reads, days, access: {"size": f"{size}Gi", "reads_per_month": reads, "days": days, "access": access},
    st.integers(1, 60),
    st.sampled_from([0, 0.1, 1, 30]),
    st.sampled_from([0.1, 1, 30, 365]),
    st.sampled_from(["read_only", "read_write"]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(classes, min_size=1, max_size=4), st.lists(needs, min_size=1, max_size=4))
def test_no_plan_is_cheaper(offers: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    offered = table(**{f"c{number}": offer for number, offer in enumerate(offers)})
    mounts = [mount(f"m{number}", **need) for number, need in enumerate(wanted)]
    every = list(offered.classes.values())
    costs = []
    for chosen in product(every, repeat=len(mounts)):
        if any(refusal(one, place) for one, place in zip(mounts, chosen, strict=True)):
            continue
        inside = [[one for one, place in zip(mounts, chosen, strict=True) if place is kind] for kind in every]
        if all(fits(there, kind) for there, kind in zip(inside, every, strict=True)):
            costs.append((sum(class_cost(there, kind) for there, kind in zip(inside, every, strict=True)), chosen))
    if not costs:
        with pytest.raises(InvalidInput, match=r"no storage class|do not fit"):
            choose(mounts, offered)
        return
    plan = choose(mounts, offered)
    assert plan.cost == pytest.approx(min(cost for cost, _ in costs), abs=1e-9)
    assert sum(choice.cost for choice in plan.choices) == pytest.approx(plan.cost, abs=1e-9)
    for index, choice in enumerate(plan.choices):
        others = [(cost, chosen[index].name) for cost, chosen in costs if chosen[index] != choice.storage_class]
        assert (choice.next_best is None) is (not others)
        if choice.next_best is not None:
            assert choice.next_best.more == pytest.approx(min(others)[0] - plan.cost, abs=1e-9)


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"cache": True, "performance": "fast"}, "cache"),
        ({"performance": "fast"}, "ssd"),
        ({"access": "read_write_many"}, "cephfs"),
        ({"access": "read_write_many", "days": 30, "reads_per_month": 0}, "cephfs"),
        ({"lifetime": "user", "performance": "cold", "days": 365, "reads_per_month": 30}, "objects"),
        ({"lifetime": "user", "performance": "cold", "days": 365, "reads_per_month": 0.7}, "rare-objects"),
        ({"lifetime": "user", "performance": "cold", "days": 365, "reads_per_month": 0.05}, "archive"),
        ({"lifetime": "user", "performance": "cold", "days": 30, "reads_per_month": 0.05}, "rare-objects"),
        ({"size": "2Ti", "lifetime": "pipeline", "performance": "standard"}, "hdd"),
    ],
)
def test_needs_lead_to_the_class_that_list_prices_say(needs: dict[str, Any], expected: str) -> None:
    """What is read rarely goes where storage is cheap and reading dear; not where it would leave too soon."""
    assert choose([mount(**needs)], table()).choices[0].storage_class.name == expected


def test_what_is_charged_once_draws_mounts_together() -> None:
    """Each alone is cheaper in its own volume; both together are cheaper in the share that is paid for anyway."""
    offers = {
        "share": own(price={"gib_month": 0.2}, pool_minimum="100Gi"),
        "volume": own(price={"gib_month": 0.3}),
    }
    alone = choose([mount(size="40Gi")], table(**offers))
    assert alone.choices[0].storage_class.name == "volume"
    both = choose([mount(name, size="40Gi") for name in ("a", "b")], table(**offers))
    assert {choice.storage_class.name for choice in both.choices} == {"share"}


def test_a_plan_explains_itself() -> None:
    plan = choose([mount("scratch", performance="fast")], table())
    text = "\n".join(plan.lines())
    assert "scratch (10Gi, read_write, fast, run): ssd (aws-ebs-gp3, prices of 2026-02), 0.03 USD over 1 d" in text
    assert "the next, nvme, would cost 0.008 USD more" in text
    assert "not cache: it is emptied with each pod, and the mount is no cache" in text
    assert "not objects: what is gone with its run would be uploaded to be deleted" in text


def test_a_need_that_nothing_meets_is_told_with_every_reason() -> None:
    with pytest.raises(InvalidInput, match="no storage class of this deployment meets") as caught:
        choose([mount("big", size="20Ti", performance="fast")], table())
    assert "not ssd: it holds at most 16Ti" in str(caught.value)
    little = table(only=own(price={"gib_month": 0.2}, capacity="15Gi"))
    with pytest.raises(InvalidInput, match="do not fit together into what there is of only"):
        choose([mount("a"), mount("b")], little)


@settings(max_examples=5, deadline=2000)
@given(st.lists(classes, min_size=6, max_size=6), st.lists(needs, min_size=16, max_size=16))
def test_as_many_as_a_job_may_have_are_planned_in_time(offers: list[Any], wanted: list[Any]) -> None:
    """``deadline``: a search that had become exponential would take hours, not seconds."""
    offered = table(**{f"c{number}": offer for number, offer in enumerate(offers)}, rest=own(price={"gib_month": 0.3}))
    assert len(choose([mount(f"m{number}", **need) for number, need in enumerate(wanted)], offered).choices) == 16
