"""The model versions that this process holds in memory, and the aliases that lead to them.

A version in use is never unloaded: whoever predicts with it acquires it first and releases it afterwards. What is not
in use may leave memory, when it was not asked for during ``keep_alive`` or another needs its room; an alias that leads
to it brings it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from learnloop.errors import NotFound, Unavailable
from learnloop.serving.files import read_version, unpacked_size
from learnloop.serving.memory import Memory
from learnloop.serving.targets import DEFAULT_TAG, Target, Targets, tagged
from learnloop.serving.versions import Key, Load, LoadedVersion, Model, Source, smoke_test

__all__ = [
    "DEFAULT_TAG",
    "Key",
    "Load",
    "LoadedVersion",
    "Model",
    "ModelSet",
    "NotLoaded",
    "Source",
    "Target",
    "smoke_test",
]


class NotLoaded(Exception):
    """``key`` is served here, but is not in memory now: load it, then ask again."""

    def __init__(self, key: Key) -> None:
        self.key = key
        super().__init__(f"{key[0]} version {key[1]} is not in memory")


class ModelSet:
    """The loaded versions and the aliases of one process; safe to use from many threads.

    Args:
        memory_bytes: what the loaded versions may take together; 0: no limit.
        keep_alive: seconds without a request after which `expire` unloads a version; 0: never.
    """

    def __init__(self, source_of: Source, load: Load, *, memory_bytes: int = 0, keep_alive: float = 0.0) -> None:
        self._source_of = source_of
        self._load = load
        self._keep_alive = keep_alive
        self._lock = threading.Lock()
        self._targets = Targets()
        self._memory = Memory(memory_bytes, self._targets)

    def load(self, name: str, version: int, *, fresh: bool = True) -> LoadedVersion:
        """Load a version, smoke test it, and hold it. It takes a while: call it in a thread of its own.

        Args:
            fresh: it is for a swap, and stays until an alias leads to it; else it may be unloaded like any other.

        Raises:
            Unavailable: there is no room for it, and what is loaded is in use or leased.
            Exception: whatever the registry, the file or the model raises; the set is then unchanged.
        """
        key = (name, version)
        with self._lock:
            if key in self._memory.versions:
                return self._memory.versions[key]
        folder = self._source_of(name, version)
        size = unpacked_size(folder)
        with self._lock:
            self._memory.make_room(key, size)
        try:
            loaded = read_version(self._load, key, folder, size)
            loaded.fresh = fresh
            with self._lock:
                return self._memory.hold(loaded)
        finally:
            with self._lock:
                self._memory.coming.pop(key, None)

    def acquire(self, name: str, version: int | None = None) -> LoadedVersion:
        """Take ``name`` (``digits``, ``digits:realtime``, ``digits:3``), or ``version`` of it, into use; release it later.

        Raises:
            NotFound: nothing is served under that name.
            NotLoaded: it is, but is not in memory.
        """
        with self._lock:
            key = self._targets.find(name, version, canary=True)
            loaded = self._memory.versions.get(key) if key else None
            if loaded is not None:
                loaded.uses += 1
                return loaded
            if key in self._memory.parked and key is not None:
                raise NotLoaded(key)
        raise self._not_found(name, version)

    def acquire_previous(self, name: str, faulty: LoadedVersion) -> LoadedVersion | None:
        """What takes over for ``faulty`` (`Targets.stand_in`), taken into use; None when nothing is at hand."""
        with self._lock:
            number = self._targets.stand_in(name, faulty.version)
            loaded = None if number is None else self._memory.versions.get((faulty.name, number))
            if loaded is None or loaded is faulty:
                return None
            loaded.uses += 1
            return loaded

    def release(self, loaded: LoadedVersion) -> None:
        """Give a version back."""
        now = datetime.now(UTC)
        with self._lock:
            loaded.uses -= 1
            loaded.answered += 1
            loaded.last_used_at = now
            loaded.idle_since = time.monotonic()

    def fault(self, loaded: LoadedVersion, what: str) -> None:
        """Count against a version that it did not answer what another did."""
        with self._lock:
            loaded.faults += 1
            loaded.last_fault = what

    def forgive(self, key: Key) -> None:
        """Begin to count a version's faults anew."""
        with self._lock:
            if key in self._memory.versions:
                self._memory.versions[key].faults = self._memory.versions[key].answered = 0

    def get(self, name: str, version: int | None = None) -> LoadedVersion:
        """Look at a version without using it; raises as `acquire`."""
        with self._lock:
            key = self._targets.find(name, version, canary=False)
            if key in self._memory.versions and key is not None:
                return self._memory.versions[key]
            if key in self._memory.parked and key is not None:
                raise NotLoaded(key)
        raise self._not_found(name, version)

    def move_alias(self, name: str, alias: str, version: int) -> bool:
        """Lead ``{name}:{alias}`` to a version that was loaded. Returns whether it led elsewhere before."""
        key = (name, version)
        with self._lock:
            if key not in self._memory.versions and key not in self._memory.parked:
                raise KeyError(key)
            self._not_fresh(key)
            return self._targets.move(f"{name}:{alias}", version)

    def set_canary(self, name: str, alias: str, version: int | None, share: float) -> bool:
        """Have ``share`` (0 to 1) of the requests for an alias answered by ``version``; None: of none.

        Returns whether that is new.
        """
        with self._lock:
            if version is not None:
                self._not_fresh((name, version))
            return self._targets.set_canary(f"{name}:{alias}", version, share)

    def take_back(self, bad: Key) -> list[str]:
        """Lead every alias away from ``bad``: to the version before it, or to its own where ``bad`` was the canary.

        Returns the aliases that were led away. One that has no version before stays.
        """
        with self._lock:
            return self._targets.take_back(bad, self._memory.versions)

    def end_probation(self, seconds: float) -> None:
        """Forget the version before, of aliases that moved longer ago than ``seconds``."""
        with self._lock:
            self._targets.end_probation(seconds)

    def keep_aliases(self, wanted: Collection[str]) -> None:
        """Drop every alias (``{name}:{alias}``) but the ``wanted`` ones."""
        with self._lock:
            self._targets.keep(wanted)

    def pin(self, leased: Collection[Key]) -> None:
        """Say which versions have a lease: neither time nor another's need unloads them."""
        with self._lock:
            self._memory.pinned = frozenset(leased)

    def unpin(self, key: Key) -> None:
        with self._lock:
            self._memory.pinned -= {key}

    def unload_unused(self, keep: Collection[Key]) -> list[Key]:
        """Unload what no request uses, no alias leads to and ``keep`` does not name. Returns what went."""
        with self._lock:
            return self._memory.drop_unused(keep)

    def expire(self) -> list[Key]:
        """Unload what nobody asked for during ``keep_alive`` and no lease holds. Returns what went."""
        if not self._keep_alive:
            return []
        before = time.monotonic() - self._keep_alive
        with self._lock:
            return [self._memory.park(loaded) for loaded in self._memory.idle() if loaded.idle_since <= before]

    def park(self, key: Key) -> bool:
        """Unload a version because somebody says so; its aliases bring it back. Returns whether it was there.

        Raises:
            Unavailable: it is in use just now, or leased.
        """
        with self._lock:
            loaded = self._memory.versions.get(key)
            if loaded is None:
                return False
            if loaded not in self._memory.idle():
                raise Unavailable(f"{key[0]} version {key[1]} is in use or leased, so it was not unloaded; ask again")
            self._memory.park(loaded)
            return True

    @property
    def evictions(self) -> int:
        """How many versions left memory because another needed their room."""
        return self._memory.evictions

    @property
    def versions(self) -> dict[Key, LoadedVersion]:
        with self._lock:
            return dict(self._memory.versions)

    @property
    def parked(self) -> set[Key]:
        with self._lock:
            return set(self._memory.parked)

    @property
    def targets(self) -> Mapping[str, Target]:
        """What each alias (``{name}:{alias}``) leads to."""
        return self._targets.all

    @property
    def memory(self) -> int:
        """Bytes of what is loaded and being loaded."""
        with self._lock:
            return self._memory.taken

    def _not_fresh(self, key: Key) -> None:
        if key in self._memory.versions:
            self._memory.versions[key].fresh = False

    def _not_found(self, name: str, version: int | None) -> NotFound:
        model, _, tag = name.partition(":")
        if version is not None or tag.isdecimal():
            number = version if version is not None else int(tag)
            loaded = sorted(found for other, found in self.versions if other == model)
            there = f"loaded versions: {', '.join(map(str, loaded)) or 'none'}; pull it, or hold a lease on it, first"
            return NotFound(f"version {number} of model {model!r} is not loaded here ({there})")
        served = ", ".join(sorted(self.targets)) or "none"
        return NotFound(f"no model is served as {tagged(name)!r}; served are: {served}")
