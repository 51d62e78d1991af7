"""Waits for what is to be said of a canary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from learnloop.serving.cluster.judging import Verdict


class CanaryTrigger(BaseTrigger):
    """Fires ``{"good", "reason"}`` when the canary of an alias was watched long enough, is bad, or is there no longer.

    Marked failed or cleared meanwhile, the task leaves no canary: its row is ended, and platform_maintenance removes pods.

    :param unit: the alias, as fields of `learnloop.serving.cluster.units.Unit`.
    :param namespace: where its pods are; None: it is served by model servers that read the database.
    :param rules: as fields of `learnloop.serving.cluster.judging.Rules`.
    :param connection: the Airflow connection of the cluster.
    """

    def __init__(
        self,
        *,
        unit: dict[str, Any],
        namespace: str | None,
        rules: dict[str, Any],
        connection: str = "kubernetes_default",
    ) -> None:
        super().__init__()
        self.unit = unit
        self.namespace = namespace
        self.rules = rules
        self.connection = connection
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("unit", "namespace", "rules", "connection")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        found = await self._watch()
        self._fired = True
        self.log.info("%s", found.reason)
        yield TriggerEvent(asdict(found))

    async def _watch(self) -> Verdict:
        from learnloop.database import session
        from learnloop.models.canaries import ended_meanwhile
        from learnloop.serving.cluster.judging import Rules
        from learnloop.serving.cluster.units import Unit
        from learnloop_airflow.pods.canary import at_pods, at_servers, watch

        unit, rules = Unit(**self.unit), Rules(**self.rules)
        gone = lambda: ended_meanwhile(session, unit)  # noqa: E731
        if self.namespace is None:
            return await watch(at_servers(unit), unit, rules, gone=gone, say=self._say)
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook

        async with AsyncKubernetesHook(conn_id=self.connection).get_conn() as connection:
            return await watch(at_pods(connection, unit, self.namespace), unit, rules, gone=gone, say=self._say)

    async def _say(self, what: str) -> None:
        self.log.info("%s", what)

    async def on_kill(self) -> None:
        """The task was marked or cleared: end the canary."""
        if not self._fired:
            await asyncio.to_thread(self._end)

    def _end(self) -> None:
        from learnloop.database import session
        from learnloop.errors import NotFound
        from learnloop.models.promotion import canary
        from learnloop.permissions import SERVICE

        try:
            with session() as db:
                reason = "its task was ended by hand"
                canary(db, self.unit["model"], self.unit["alias"], None, percent=0, by=SERVICE.name, reason=reason)
        except NotFound:
            self.log.info("nothing is deployed as %s:%s any more", self.unit["model"], self.unit["alias"])
