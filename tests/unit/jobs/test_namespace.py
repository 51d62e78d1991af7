"""Whatever a person or a job is called: names differ, are labels Kubernetes takes, and lead nowhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnloop.datasets.allowed import allowed_folder
from learnloop.datasets.workspace_files import place_of
from learnloop.errors import LearnloopError, PermissionDenied
from learnloop.jobs.namespace import KINDS, WORKSPACES, key_folder, kubernetes_name, namespace_of, user_folder

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ROOT = Path("/srv/learnloop")

# Any text, and text made of what is dangerous in paths, in shells, in labels and in our own mapping.
PIECES = ("..", ".", "/", "\\", "\x00", "-", "--", "a", "A", "ä", "a" * 31, " ", "\n", "~", "%2e", "workspaces", "x--")
NAMES = (
    st.text(min_size=1)
    | st.text(st.characters(), min_size=1)
    | st.lists(st.sampled_from(PIECES), min_size=1).map("".join)
    | st.text("aA-", min_size=1, max_size=70)
)
# Two names of which one is often a near relative, or the image, of the other.
RELATIVES = (str.upper, str.lower, str.strip, user_folder, key_folder, lambda name: name + "-", lambda name: name[:63])
KIN = st.tuples(NAMES, st.sampled_from(RELATIVES)).map(lambda two: (two[0], two[1](two[0]) or "x"))
PAIRS = st.tuples(NAMES, NAMES) | KIN


@given(PAIRS)
def test_different_people_have_different_namespaces(pair: tuple[str, str]) -> None:
    one, other = pair
    assert (user_folder(one) == user_folder(other)) is (one == other)
    assert (key_folder(one) == key_folder(other)) is (one == other)


@given(NAMES)
def test_a_namespace_is_a_label_of_kubernetes(name: str) -> None:
    assert LABEL.fullmatch(user_folder(name))
    assert LABEL.fullmatch(key_folder(name))
    assert WORKSPACES not in (user_folder(name), key_folder(name))


@given(NAMES, st.sampled_from(KINDS))
def test_a_namespace_is_just_below_its_kind(name: str, kind: str) -> None:
    place = namespace_of(ROOT, kind, name)
    assert Path(os.path.normpath(place)) == place
    assert place.parent == ROOT / kind


@given(PAIRS, PAIRS)
def test_different_jobs_have_different_pods(users: tuple[str, str], keys: tuple[str, str]) -> None:
    names = {kubernetes_name("job", user, key) for user in users for key in keys}
    assert len(names) == len(set(users)) * len(set(keys))
    for name in names:
        assert LABEL.fullmatch(name)
        assert name.startswith("job-")


def test_what_is_between_the_parts_tells_jobs_apart() -> None:
    assert len({kubernetes_name("job", *parts) for parts in (("a", "bc"), ("ab", "c"), ("abc",), ("", "abc"))}) == 4
    assert len({kubernetes_name("job", "u", "k" * 62 + end) for end in "ab"}) == 2


@given(PAIRS, st.sampled_from(KINDS))
def test_a_namespace_is_open_to_its_owner_alone(pair: tuple[str, str], kind: str) -> None:
    owner, other = pair
    place = namespace_of(ROOT / "namespaces", kind, owner) / "file"
    where = {"roots": (Path("/"),), "home": ROOT, "namespaces": ROOT / "namespaces"}
    assert allowed_folder(place, user=owner, **where) == place
    if owner != other:
        with pytest.raises(PermissionDenied):
            allowed_folder(place, user=other, **where)


@given(NAMES, NAMES)
def test_a_workspace_is_in_its_owners_namespace_or_is_not(owner: str, name: str) -> None:
    try:
        place = place_of(ROOT, owner, name)
    except LearnloopError:
        return  # a workspace's name is refused rather than changed: people type it
    assert place.parent == namespace_of(ROOT, "data", owner) / WORKSPACES


def test_there_are_four_kinds() -> None:
    with pytest.raises(ValueError, match="'secrets'"):
        namespace_of(ROOT, "secrets", "ann")
    in_pod = [str(namespace_of(Path("/"), kind, "ann")) for kind in KINDS]
    assert in_pod == ["/data/ann", "/tmp/ann", "/results/ann", "/models/ann"]
