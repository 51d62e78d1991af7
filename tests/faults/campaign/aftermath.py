"""What is tried when no more faults come: a model is taken back, an object is damaged and repaired."""

from __future__ import annotations

from collections.abc import Callable

from learnloop.client import LearnloopClient

from .seen import Seen
from .stack import Stack


def rolled_back(client: LearnloopClient, model: str, served: Callable[[], int], seen: Seen) -> list[str]:
    """6: one call, and what was served before answers when it returns; and forth again. ``served``: who answers now."""
    (row,) = [row for row in client.deployments() if (row["model_name"], row["alias"]) == (model, "current")]
    now, before = row["model_version"], row["previous_version"]
    if before is None or before == now:
        seen.did["nothing to roll back to"] += 1
        return []
    problems = []
    client.roll_back(model, "current", seen=now)
    if (answering := served()) != before:
        problems.append(f"{model} was rolled back from version {now} to {before}, and {answering} answers")
    client.promote(model, "current", now)
    if (answering := served()) != now:
        problems.append(f"version {now} of {model} was promoted, and {answering} answers")
    seen.did["rolled back, and forth again"] += 1
    return problems


def damaged_and_repaired(client: LearnloopClient, stack: Stack, name: str, seen: Seen) -> list[str]:
    """7: an object that is damaged is found and named, and repaired from the remote, which has to have it."""
    place = stack.place(name)
    whole, mode = place.read_bytes(), place.stat().st_mode
    place.chmod(0o644)
    place.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    place.chmod(mode)
    problems = []
    found = client.verify()["problems"]
    if [problem["name"] for problem in found] != [name]:
        problems.append(f"object {name} of the store was damaged, and verification found {found}")
    client.verify(repair=True)
    if left := client.verify()["problems"]:
        problems.append(f"object {name} of the store was damaged, and after its repair there is {left}")
    if not place.is_file() or place.read_bytes() != whole:
        problems.append(f"object {name} of the store was damaged, and is not what it was")
    seen.did["damaged and repaired"] += 1
    return problems
