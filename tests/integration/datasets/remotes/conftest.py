"""A filled store, and a remote of each kind."""

from __future__ import annotations

import os

import pytest
from remote_places import PLACES, remote_of

from learnloop.datasets.store import Store


@pytest.fixture
def filled(tmp_path):
    """A store with a tree of 40 small files, an empty one and two equal ones, and the tree's hash."""
    folder = tmp_path / "data"
    for number in range(40):
        path = folder / f"part{number % 4}" / f"größe {number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(2000 + number))
    (folder / "empty").write_bytes(b"")
    (folder / "twin").write_bytes((folder / "part0" / "größe 0.bin").read_bytes())
    store = Store(tmp_path / "filled")
    return store, store.write_tree(store.add_folder(folder)[0])


@pytest.fixture(params=PLACES)
def place(request):
    return PLACES[request.param](request)


@pytest.fixture
def remote(place):
    return remote_of(place)


@pytest.fixture
def empty(tmp_path):
    return Store(tmp_path / "empty")
