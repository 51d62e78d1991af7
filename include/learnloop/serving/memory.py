"""What of the loaded versions stays in memory. Whoever asks holds the lock of the `ModelSet`."""

from __future__ import annotations

from collections.abc import Collection

from learnloop.errors import Unavailable
from learnloop.serving.targets import Targets
from learnloop.serving.versions import Key, LoadedVersion


class Memory:
    """The versions in memory, and those that are arriving.

    Args:
        limit: bytes that they may take together; 0: no limit.
        targets: the aliases: what one leads to is parked when it leaves, and may come back.
    """

    def __init__(self, limit: int, targets: Targets) -> None:
        self._limit = limit
        self._targets = targets
        self.versions: dict[Key, LoadedVersion] = {}
        self.coming: dict[Key, int] = {}
        """Bytes of the versions that are being loaded."""
        self.pinned: frozenset[Key] = frozenset()
        # Versions that were loaded well and left memory since: an alias may lead to them.
        self.parked: set[Key] = set()
        self.evictions = 0

    @property
    def taken(self) -> int:
        """Bytes of what is loaded and being loaded."""
        return sum(loaded.size for loaded in self.versions.values()) + sum(self.coming.values())

    def make_room(self, key: Key, size: int) -> None:
        """Have room for a version that is going to be loaded; what was not asked for longest goes first.

        Raises:
            Unavailable: there is none, and what is loaded is in use or leased; nothing has gone.
        """
        idle = sorted(self.idle(), key=lambda loaded: loaded.idle_since)
        room = self._limit - self.taken - size
        going: list[LoadedVersion] = []
        while self._limit and room < 0 and idle:
            going.append(idle.pop(0))
            room += going[-1].size
        if self._limit and room < 0:
            there = ", ".join(f"{name} version {version}" for name, version in self.versions) or "nothing"
            raise Unavailable(
                f"{key[0]} version {key[1]} needs {size} bytes of memory; models may take {self._limit}, and"
                f" there are in use, leased or arriving: {there}"
            )
        for loaded in going:
            self.park(loaded)
            self.evictions += 1
        self.coming[key] = size

    def hold(self, loaded: LoadedVersion) -> LoadedVersion:
        """Keep a version that was loaded, or the one that was there before it."""
        self.parked.discard(loaded.key)
        return self.versions.setdefault(loaded.key, loaded)

    def idle(self) -> list[LoadedVersion]:
        """What may go: not in use, not leased, and not about to be swapped in."""
        return [
            loaded
            for key, loaded in self.versions.items()
            if not loaded.uses and not loaded.fresh and key not in self.pinned
        ]

    def park(self, loaded: LoadedVersion) -> Key:
        """Let a version go; one that an alias leads to may come back."""
        del self.versions[loaded.key]
        if loaded.key in self._targets.led_to():
            self.parked.add(loaded.key)
        return loaded.key

    def drop_unused(self, keep: Collection[Key]) -> list[Key]:
        """Let go for good what no request uses, no alias leads to and ``keep`` does not name. Returns what went."""
        led_to = self._targets.led_to()
        self.parked &= led_to | set(keep)
        unused = [
            key for key, loaded in self.versions.items() if key not in keep and not loaded.uses and key not in led_to
        ]
        for key in unused:
            del self.versions[key]
        return unused
