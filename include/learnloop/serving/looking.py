"""A look at what servers have counted of a canary, and of what it stands beside."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import ServerReplica
from learnloop.models.deployment import LIVE_WITHIN
from learnloop.serving.cluster.judging import Counts, Rules, Verdict, Watched, judge, read_counts
from learnloop.serving.cluster.units import CANARY, STABLE

if TYPE_CHECKING:
    from learnloop.serving.cluster.units import Unit

TIMEOUT_SECONDS = 5.0
Sessions = Callable[[], AbstractContextManager[Session]]


@dataclass
class Look:
    """What each server has counted, by track; how servers of the canary alone ended by themselves.

    Attributes:
        own: whether the canary has servers of its own, whose counters began with it.
    """

    counts: dict[str, dict[str, Counts]] = field(default_factory=lambda: {STABLE: {}, CANARY: {}})
    ended: list[str] = field(default_factory=list)
    own: bool = False

    def judged(
        self, tracks: dict[str, Watched], rules: Rules, unit: Unit, elapsed: float, whole: Collection[str] = ()
    ) -> Verdict | None:
        """Count it, and say what is to be said of the canary of ``unit``; None: nothing yet.

        Args:
            elapsed: seconds since it is watched.
            whole: the tracks of which all that a server ever counted is counted when it is first seen.
        """
        for track, watched in tracks.items():
            for server, counts in self.counts[track].items():
                watched.see(server, counts, whole=track in whole)
        canary, stable = tracks[CANARY].counts, tracks[STABLE].counts
        return judge(canary, stable, rules, version=unit.canary or 0, elapsed=elapsed, ended=self.ended)


def look_at_servers(sessions: Sessions, unit: Unit) -> Look:
    """What every live model server that reads the database has counted. One that does not answer is left out.

    Raises:
        SQLAlchemyError: the database did not answer.
    """
    import httpx

    with sessions() as db:
        live = select(ServerReplica.name, ServerReplica.url).where(ServerReplica.seen_at > func.now() - LIVE_WITHIN)
        servers = db.execute(live).all()
    look = Look()
    for name, url in servers:
        try:
            text = httpx.get(f"{url}/metrics", timeout=TIMEOUT_SECONDS, trust_env=False).raise_for_status().text
        except httpx.HTTPError:
            continue
        for track, version in ((STABLE, unit.version), (CANARY, unit.canary)):
            look.counts[track][name] = read_counts(text, unit.model, version)
    return look
