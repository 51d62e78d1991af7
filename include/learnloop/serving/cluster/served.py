"""Makes a cluster serve what a model's deployment rows say, and waits until it does.

Every pass looks at all rows of one model, so it does not matter who makes it, how often, or where an earlier one ended. What
is not labelled as ours is never changed; what was made for a later generation of a row is never made an earlier one's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import Conflict, PermissionDenied, Unavailable
from learnloop.serving.cluster.looking import look_at_pods
from learnloop.serving.cluster.manifests import Noting, Versions, current_service, manifests
from learnloop.serving.cluster.objects import ApiAway, Objects
from learnloop.serving.cluster.rollout import Progress, progress, refused
from learnloop.serving.cluster.template import Template
from learnloop.serving.cluster.units import (
    CANARY,
    MANAGED,
    MODEL,
    STABLE,
    VERSION,
    Unit,
    Wanted,
    model_label,
    object_name,
    order_of,
    wanted_of,
)
from learnloop.serving.targets import DEFAULT_TAG

if TYPE_CHECKING:
    from learnloop.database import Deployment
    from learnloop.serving.looking import Look

LOOK_SECONDS = 0.5
REFUSALS = 20
"""So many looks one after another must be refused before it is believed: an API server that starts knows no rights yet."""
Log = Callable[[str], None]
Object = dict[str, Any]


class Refused(Conflict):
    """A version cannot be served, whatever is waited for."""


class ServedModels:
    """Model versions as pods of one namespace.

    Args:
        source_of: the folder of a registered version, below ``models``.
        models: the root of registered models' files, which the template's volume of that name is.
        noting_of: what is noted of the requests to a model.
    """

    def __init__(
        self,
        objects: Objects,
        template: Template,
        source_of: Callable[[str, int], Path],
        models: Path,
        log: Log | None = None,
        noting_of: Callable[[str], Noting | None] = lambda _: None,
    ) -> None:
        self._noting_of = noting_of
        self._objects = objects
        self._template = template
        self._source_of = source_of
        self._models = models
        self._log = log or logging.getLogger(__name__).info
        self._known: Versions | None = None

    def follow(
        self, model: str, rows: Sequence[Deployment], *, wait_for: Collection[str] = (), timeout: float = 0
    ) -> list[str]:
        """Have the cluster serve what ``rows``, all of ``model``'s, say. Returns what was changed; nothing, if nothing was.

        Args:
            wait_for: the aliases whose rollout must have ended; for these at most ``timeout`` seconds.

        Raises:
            Refused: a version that is waited for does not load or does not pass its smoke test, or its pods cannot be.
            Unavailable: it takes too long, or the API server is away; the message says what is waited for.
            Conflict: an object's name is taken by another's, or another has made it for a later generation.
            InvalidInput: a canary is to have more than Kubernetes can give it.
            PermissionDenied: the rights are not there.
        """
        deadline = time.monotonic() + timeout
        wanted = wanted_of(model, rows)
        changed = self._patiently(lambda: self._apply(wanted), deadline)
        waited = [unit for unit in wanted.units if unit.alias in wait_for]
        if DEFAULT_TAG in wait_for and wanted.leads_to is not None and wanted.leads_to not in waited:
            waited.append(wanted.leads_to)
        for unit in waited:
            self._wait(unit, deadline)
        changed += self._patiently(lambda: self._lead_current(wanted), deadline)
        changed += self._patiently(lambda: self._remove(wanted), deadline)
        return changed

    @property
    def namespace(self) -> str:
        return self._objects.namespace

    def models(self) -> set[str]:
        """The models that something was made for, also those that have no row any more.

        Raises:
            ApiAway, PermissionDenied: as the API server answers.
        """
        found = self._objects.all_of("apps/v1", "Deployment", MANAGED)
        return {name for one in found if (name := (one["metadata"].get("annotations") or {}).get(MODEL))}

    def progress(self, unit: Unit) -> Progress:
        """How far the rollout of a unit is, its canary's with it."""
        found = self._progress(unit, STABLE, unit.name, unit.version)
        if found.done and unit.canary is not None:
            found = self._progress(unit, CANARY, f"{unit.name}-{CANARY}", unit.canary)
        return found

    def look(self, unit: Unit) -> Look:
        """What the pods of a unit, and of its canary, have counted.

        Raises:
            ApiAway, PermissionDenied: as the API server answers.
        """
        return look_at_pods(self._objects, unit)

    def refusals(self, unit: Unit) -> tuple[str | None, str | None]:
        """Why pods of the unit's version, and of its canary's, will never serve; None: they do, or may.

        Raises:
            ApiAway, PermissionDenied: as the API server answers.
        """
        return self._refusal(unit, STABLE, unit.version), self._refusal(unit, CANARY, unit.canary)

    def _refusal(self, unit: Unit, track: str, version: int | None) -> str | None:
        if version is None:
            return None
        pods = self._objects.all_of("v1", "Pod", {**unit.labels(track), VERSION: str(version)})
        return next((why for pod in pods if (why := refused(pod)) is not None), None)

    def _progress(self, unit: Unit, track: str, name: str, version: int) -> Progress:
        deployment = self._objects.get("apps/v1", "Deployment", name)
        if deployment is None:
            return Progress(refused=f"Deployment {name} is not there (any more)")
        if order_of(deployment) > unit.order:
            return Progress(refused=f"{unit.model}:{unit.alias} was changed again meanwhile")
        labels = {**unit.labels(track), VERSION: str(version)}
        return progress(deployment, self._objects.all_of("v1", "Pod", labels))

    def _apply(self, wanted: Wanted) -> list[str]:
        versions = self._versions()
        noting = self._noting_of(wanted.model)
        changed = []
        for unit in wanted.units:
            numbers = {unit.version, *([unit.canary] if unit.canary is not None else [])}
            folders = {number: self._folder(unit.model, number) for number in sorted(numbers)}
            for manifest in manifests(unit, self._template, folders, versions, noting):
                if not self._leads_elsewhere(manifest):
                    changed += self._put(unit, manifest)
        return changed

    def _leads_elsewhere(self, manifest: Object) -> bool:
        """Whether it is a Service that leads to other pods until now: it follows when those it is to lead to are there."""
        if manifest["kind"] != "Service":
            return False
        seen = self._objects.get("v1", "Service", manifest["metadata"]["name"])
        if seen is None:
            return False
        self._check_ours("Service", seen)
        return bool(seen["spec"].get("selector") != manifest["spec"]["selector"])

    def _put(self, unit: Unit, manifest: Object) -> list[str]:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        seen = self._objects.get(manifest["apiVersion"], kind, name)
        if seen is not None:
            self._check_ours(kind, seen)
            if order_of(seen) > unit.order:
                raise Conflict(
                    f"{unit.model}:{unit.alias} was changed again meanwhile: {kind} {name} is of that change"
                )
        made = self._objects.apply(manifest, seen)
        if seen is not None and seen["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]:
            return []
        self._log(f"{'made' if seen is None else 'changed'} {kind} {name}")
        return [f"{kind}/{name}"]

    def _lead_current(self, wanted: Wanted) -> list[str]:
        """Lead the Service of ``current`` to the pods of its alias, or to its own, once those are there."""
        service = current_service(wanted, self._template)
        if service is None or wanted.current is None or wanted.leads_to is None:
            return []
        there = self._objects.get("v1", "Service", service["metadata"]["name"])
        if there is not None and not self.progress(wanted.leads_to).done:
            return []
        return self._put(wanted.current, service)

    def _remove(self, wanted: Wanted) -> list[str]:
        """Remove what was made of this model's and is wanted no longer."""
        names = {unit.name for unit in wanted.units}
        canaries = {f"{unit.name}-{CANARY}" for unit in wanted.units if unit.canary is not None}
        current = {object_name(wanted.model, DEFAULT_TAG)} if wanted.current is not None else set()
        versions = self._versions()
        removed = []
        for version, kind, keep in (
            ("v1", "Service", names | current),
            (versions.autoscaling, "HorizontalPodAutoscaler", names if self._template.max_replicas else set()),
            (versions.policy, "PodDisruptionBudget", names),
            ("apps/v1", "Deployment", names | canaries),
        ):
            for found in self._objects.all_of(version, kind, {**MANAGED, MODEL: model_label(wanted.model)}):
                name = found["metadata"]["name"]
                if name not in keep:
                    self._objects.delete(version, {**found, "kind": kind})
                    self._log(f"removed {kind} {name}")
                    removed.append(f"{kind}/{name}")
        return removed

    def _wait(self, unit: Unit, deadline: float) -> None:
        said, refusals = "", 0
        while True:
            try:
                found = self.progress(unit)
                refusals = 0
            except ApiAway as error:
                found = Progress(waits=str(error))
            except PermissionDenied as error:
                refusals += 1
                if refusals > REFUSALS:
                    raise
                found = Progress(waits=str(error))
            if found.done:
                return
            if found.refused is not None:
                raise Refused(found.refused)
            if found.waits != said:
                said = found.waits
                self._log(f"{unit.model}:{unit.alias} version {unit.version}: {said}")
            if time.monotonic() > deadline:
                raise Unavailable(f"it took too long: {said}")
            time.sleep(LOOK_SECONDS)

    def _patiently(self, work: Callable[[], list[str]], deadline: float) -> list[str]:
        """Do it again while the API server is away, until the deadline."""
        while True:
            try:
                return work()
            except ApiAway as error:
                if time.monotonic() > deadline:
                    raise
                self._log(f"{error}; waiting until it does")
                time.sleep(LOOK_SECONDS)

    def _versions(self) -> Versions:
        """Current Kubernetes has the first of each; 1.20, the second."""
        if self._known is None:
            self._known = Versions(
                "autoscaling/v2" if self._objects.has("autoscaling/v2") else "autoscaling/v2beta2",
                "policy/v1" if self._objects.has("policy/v1") else "policy/v1beta1",
            )
        return self._known

    def _folder(self, model: str, version: int) -> str:
        """Where a version's files are below the volume of models."""
        source = self._source_of(model, version)
        try:
            return source.relative_to(self._models).as_posix()
        except ValueError:
            raise Conflict(
                f"the files of {model} version {version} are at {source}, not below {self._models} (LEARNLOOP_MODELS), so no"
                " pod can have them: register it anew"
            ) from None

    def _check_ours(self, kind: str, found: Mapping[str, Any]) -> None:
        about = found["metadata"]
        if not MANAGED.items() <= (about.get("labels") or {}).items():
            raise Conflict(
                f"{kind} {about['name']} in namespace {self._objects.namespace} was not made by Learnloop, so it stays as it"
                " is; give Learnloop a namespace of its own, or remove that"
            )
