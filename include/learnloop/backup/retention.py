"""Which backups are kept, and the removal of what only the others need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from learnloop.backup.contents import Contents, Head
from learnloop.backup.place import Place
from learnloop.errors import InvalidInput
from learnloop.faultpoints import reach


@dataclass
class Pruned:
    """What went, or would."""

    kept: dict[str, str] = field(default_factory=dict)
    """Backups that stay, and why."""
    removed: list[str] = field(default_factory=list)
    pieces: int = 0


def choose(heads: Iterable[Head], *, daily: int, weekly: int) -> dict[str, str]:
    """The backups to keep, by name, with the reason: the newest whole one, and the newest of each of the last ``daily``
    days and ``weekly`` weeks (ISO, UTC) that have any.

    A backup that lacks something is kept by these rules only where there is no whole one.
    """
    if daily < 0 or weekly < 0 or daily + weekly == 0:
        raise InvalidInput("how many backups to keep must be given in days, weeks or both, and not be negative")
    newest = sorted(heads, key=lambda head: (not head.lacking, head.at), reverse=True)
    kept: dict[str, str] = {newest[0].name: "the newest"} if newest else {}
    rules: tuple[tuple[str, int, Callable[[Head], object]], ...] = (
        ("day", daily, lambda head: head.at.date()),
        ("week", weekly, lambda head: head.at.isocalendar()[:2]),
    )
    for word, count, period in rules:
        best: dict[object, Head] = {}
        for head in newest:
            best.setdefault(period(head), head)
        for head in sorted(best.values(), key=lambda head: head.at, reverse=True)[:count]:
            kept.setdefault(head.name, f"the newest of its {word}")
    return kept


def prune(place: Place, *, daily: int, weekly: int, dry_run: bool = False) -> Pruned:
    """Remove the backups that are not kept, then the pieces that no backup needs. Call it as the only writer
    (`taking.only_one`).

    Raises:
        Corrupted, NotFound: a backup that is kept cannot be read, so that what it needs is not known; nothing was removed.
    """
    place.open(writing=not dry_run)
    heads = {name: place.head(name) for name in place.names()}
    kept = choose(heads.values(), daily=daily, weekly=weekly)
    needed = {piece for name in kept for piece in _pieces(place, heads[name], place.contents(heads[name]))}
    unneeded = sorted(place.all_pieces() - needed)
    done = Pruned(kept, [name for name in heads if name not in kept], len(unneeded))
    if dry_run:
        return done
    # Heads first: a backup whose head is there is complete.
    for name in done.removed:
        place.remove_head(name)
        reach("prune.head-removed")
    for piece in unneeded:
        place.remove_piece(piece)
        reach("prune.piece-removed")
    return done


def _pieces(place: Place, head: Head, contents: Contents) -> Iterable[str]:
    yield from place.names_of(head.contents.size, head.contents.sha256)
    for name, size in contents.all_objects().items():
        yield from place.names_of(size, name)
    for file in contents.all_files():
        yield from place.names_of(file.size, file.sha256)
