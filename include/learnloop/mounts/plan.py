"""The cheapest set of storage classes for a set of mounts, and why.

Mounts depend on each other by what classes charge once (``pool_minimum``) and by how much there is of them (``capacity``),
so each mount's own cheapest class is not always right: it is an assignment with fixed charges, which is NP-hard, and small.
It is solved as a mixed integer program to the optimum by HiGHS (Huangfu and Hall, "Parallelizing the dual revised simplex
method", 2018), by way of scipy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from learnloop.errors import InvalidInput
from learnloop.jobs.mount import Mount, faults_between
from learnloop.jobs.quantities import bytes_of
from learnloop.jobs.spec import problems_of
from learnloop.mounts.costs import billed_bytes, class_cost, fees, gib_months, least_gib_months, refusal
from learnloop.mounts.table import StorageClass, Table


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NextBest(_Part):
    """``more``: so much more the whole plan would cost with the mount in ``storage_class`` (of the table)."""

    storage_class: str
    more: float


class Choice(_Part):
    """``cost``: its part of the class's; what is charged once is shared by size. ``refused``: why not the others."""

    mount: Mount
    storage_class: StorageClass
    cost: float
    next_best: NextBest | None
    refused: dict[str, str]


class Plan(_Part):
    """``cost`` is that of all mounts for as long as each stays, in ``currency``."""

    currency: str
    cost: float
    choices: tuple[Choice, ...]

    def lines(self) -> list[str]:
        """The plan in words: what, why, what the next would cost."""
        found = [f"{len(self.choices)} mounts, estimated {money(self.cost, self.currency)} by list prices:"]
        for choice in self.choices:
            mount, one = choice.mount, choice.storage_class
            priced = (
                f"{one.product or one.provider}, prices of {one.as_of}" if one.as_of else one.product or one.provider
            )
            found.append(
                f"  {mount.name} ({mount.size}, {mount.access}, {mount.performance}, {mount.lifetime}): {one.name}"
                f" ({priced}), {money(choice.cost, self.currency)} over {mount.stays:g} d"
            )
            if choice.next_best is not None:
                more = money(choice.next_best.more, self.currency)
                found.append(f"    the next, {choice.next_best.storage_class}, would cost {more} more")
            found += [f"    not {name}: {reason}" for name, reason in choice.refused.items()]
        return found


def money(amount: float, currency: str) -> str:
    return f"{amount:.2f} {currency}" if amount >= 0.01 or amount == 0 else f"{amount:.2g} {currency}"


def choose(mounts: Sequence[Mount], table: Table, there: Mapping[str, str] | None = None) -> Plan:
    """The cheapest plan for ``mounts``.

    Args:
        there: the storage classes of mounts that have been made already, by the mount's name: they stay where they are.

    Raises:
        InvalidInput: the mounts do not go together, or no class meets a need; each with the reason of each class.
    """
    if fault := faults_between(tuple(mounts)):
        raise InvalidInput(f"the mounts are not valid: {fault}")
    refused = [_refused(mount, table, (there or {}).get(mount.name)) for mount in mounts]
    unmet = [
        f"{mount.name} ({mount.size}, {mount.access}, {mount.performance}, {mount.lifetime}): "
        + "; ".join(f"not {name}: {why}" for name, why in reasons.items())
        for mount, reasons in zip(mounts, refused, strict=True)
        if len(reasons) == len(table.classes)
    ]
    if unmet:
        raise InvalidInput("no storage class of this deployment meets the needs of", unmet)
    possible = [[one for name, one in sorted(table.classes.items()) if name not in reasons] for reasons in refused]
    best = _search(mounts, possible)
    if best is None:
        full = sorted(one.name for one in table.classes.values() if one.capacity is not None)
        raise InvalidInput(f"the mounts do not fit together into what there is of {', '.join(full)}; ask for less")
    choices = tuple(
        Choice(
            mount=mount,
            storage_class=best.classes[index],
            cost=_share(index, mounts, best.classes),
            next_best=_next(index, mounts, possible, best),
            refused=refused[index],
        )
        for index, mount in enumerate(mounts)
    )
    return Plan(currency=table.currency, cost=sum(choice.cost for choice in choices), choices=choices)


def _refused(mount: Mount, table: Table, there: str | None) -> dict[str, str]:
    """Why ``mount`` cannot be in a class, by its name."""
    if there is not None:
        return {name: f"it is in {there} already" for name in table.classes if name != there}
    return {name: why for name, one in table.classes.items() if (why := refusal(mount, one))}


@dataclass(frozen=True)
class _Best:
    cost: float
    classes: tuple[StorageClass, ...]


def _search(mounts: Sequence[Mount], possible: Sequence[Sequence[StorageClass]]) -> _Best | None:
    """The cheapest way to put each mount into one of its ``possible`` classes; None when there is none.

    Of the variables, those of ``pairs`` (0 or 1) say what is put where, the others what a class with a minimum stores.
    """
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(index, one) for index, classes in enumerate(possible) for one in _worth_trying(mounts[index], classes)]
    pooled = sorted({one.name for _, one in pairs if one.pool_minimum is not None})
    width = len(pairs) + len(pooled)
    cost = np.zeros(width)
    rows: list[tuple[dict[int, float], float, float]] = []
    for index in range(len(mounts)):
        rows.append(({place: 1.0 for place, (of, _) in enumerate(pairs) if of == index}, 1.0, 1.0))
    for place, (index, one) in enumerate(pairs):
        if one.pool_minimum is None:
            cost[place] = class_cost([mounts[index]], one)
            continue
        stored = len(pairs) + pooled.index(one.name)
        cost[place], cost[stored] = fees(mounts[index], one), one.price.gib_month
        rows.append(({stored: 1.0, place: -least_gib_months(mounts[index], one)}, 0.0, np.inf))
    for number, name in enumerate(pooled):
        own = {place: -gib_months(mounts[index], one) for place, (index, one) in enumerate(pairs) if one.name == name}
        rows.append(({len(pairs) + number: 1.0, **own}, 0.0, np.inf))
    for full in {one.name: one for _, one in pairs if one.capacity is not None}.values():
        room = bytes_of(str(full.capacity))
        own = {p: billed_bytes(mounts[i], one) / room for p, (i, one) in enumerate(pairs) if one.name == full.name}
        rows.append((own, 0.0, 1.0))
    matrix = np.zeros((len(rows), width))
    for line, (values, _, _) in zip(matrix, rows, strict=True):
        line[list(values)] = list(values.values())
    found = milp(
        1e6 * cost / (cost.max() or 1.0),  # it stops within 1e-6 of the best, whatever the costs are
        integrality=np.arange(width) < len(pairs),
        bounds=Bounds(0, np.where(np.arange(width) < len(pairs), 1, np.inf)),
        constraints=LinearConstraint(matrix, [low for _, low, _ in rows], [high for _, _, high in rows]),
        options={"mip_rel_gap": 0},
    )
    if found.x is None:
        return None
    chosen = [one for place, (_, one) in enumerate(pairs) if found.x[place] > 0.5]
    return _Best(_total(mounts, chosen), tuple(chosen))


def _total(mounts: Sequence[Mount], classes: Sequence[StorageClass]) -> float:
    inside: dict[str, list[Mount]] = {}
    for mount, one in zip(mounts, classes, strict=True):
        inside.setdefault(one.name, []).append(mount)
    named = {one.name: one for one in classes}
    return sum(class_cost(there, named[name]) for name, there in inside.items())


def _worth_trying(mount: Mount, classes: Sequence[StorageClass]) -> list[StorageClass]:
    """The classes that may be in the best plan: of those that depend on no other mount, the cheapest alone."""
    alone = [one for one in classes if one.pool_minimum is None and one.capacity is None]
    cheapest = min(alone, key=lambda one: (class_cost([mount], one), one.name), default=None)
    return [one for one in classes if one is cheapest or one.pool_minimum is not None or one.capacity is not None]


def _next(
    index: int, mounts: Sequence[Mount], possible: Sequence[Sequence[StorageClass]], best: _Best
) -> NextBest | None:
    others = [one for one in possible[index] if one.name != best.classes[index].name]
    if not others:
        return None
    found = _search(mounts, [*possible[:index], others, *possible[index + 1 :]])
    if found is None:
        return None
    return NextBest(storage_class=found.classes[index].name, more=max(0.0, found.cost - best.cost))


def _share(index: int, mounts: Sequence[Mount], classes: Sequence[StorageClass]) -> float:
    one = classes[index]
    together = [mount for mount, other in zip(mounts, classes, strict=True) if other.name == one.name]
    charged = class_cost(together, one) - sum(fees(mount, one) for mount in together)
    return fees(mounts[index], one) + charged * mounts[index].bytes / sum(mount.bytes for mount in together)


def parse_mounts(given: Any) -> tuple[Mount, ...]:
    """Mounts from JSON-like data.

    Raises:
        InvalidInput: with one problem for each field that is wrong.
    """
    try:
        found = TypeAdapter(tuple[Mount, ...]).validate_python(given)
    except ValidationError as error:
        raise InvalidInput("the mounts are not valid", problems_of(error, "the mounts")) from error
    if fault := faults_between(found):
        raise InvalidInput("the mounts are not valid", [fault])
    return found
