"""One task's way through the line, each step a transaction of its own. A trigger, a worker and a test go the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from logging import Logger

from sqlalchemy.exc import SQLAlchemyError

from learnloop.capacity import reservations
from learnloop.capacity.deciding import Machines, claim, decide_all, rules
from learnloop.capacity.reservations import Standing, Wanted
from learnloop.database import session


@dataclass(frozen=True)
class Turn:
    """For what is ``wanted``: :meth:`ask` until it is given, :meth:`begin`, and :meth:`release` at the end."""

    wanted: Wanted

    def ask(self) -> Standing:
        with session() as db:
            return reservations.ask(db, self.wanted)

    def is_to_decide(self) -> bool:
        """Whether a decision is due, and this caller is to read what there is and :meth:`decide`."""
        with session() as db:
            return claim(db, self.wanted.runner)

    def decide(self, machines: Machines) -> None:
        with session() as db:
            decide_all(db, self.wanted.runner, machines, rules())

    def take_a_look(self, machines: Callable[[], Machines]) -> Standing:
        """Ask, and decide for all when that is due; ``machines`` says what there is."""
        standing = self.ask()
        if standing.state == "waiting" and self.is_to_decide():
            self.decide(machines())
            standing = self.ask()
        return standing

    def begin(self, standing: Standing) -> bool:
        """Take up what was given; False: ask again."""
        with session() as db:
            return standing.given and reservations.begin(db, standing.id)

    def given_at(self) -> datetime | None:
        """When it was given; None when it was not, or was given back."""
        with session() as db:
            return reservations.given_at(db, self.wanted)

    def release(self, log: Logger) -> None:
        """Give back. What cannot be given back now, because our database is away, is left to `platform_maintenance`."""
        try:
            with session() as db:
                reservations.release(db, self.wanted.runner, [self.wanted.holder])
        except SQLAlchemyError as error:
            log.warning("what was reserved is left to platform_maintenance to release: %s", error)
