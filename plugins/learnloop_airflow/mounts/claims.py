"""Mounts as PersistentVolumeClaims: made, found again, adopted, removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learnloop.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from learnloop.jobs.mount import Mount
from learnloop.jobs.quantities import bytes_of
from learnloop.mounts.costs import billed_bytes
from learnloop.mounts.made import Prepared, Record
from learnloop.mounts.table import StorageClass
from learnloop_airflow.pods.asking import asked
from learnloop_airflow.pods.names import USER, user_label

MANAGED = {"app.kubernetes.io/managed-by": "learnloop", "app.kubernetes.io/component": "mount"}
SELECTOR = ",".join(f"{name}={value}" for name, value in MANAGED.items())
RECORD = "learnloop/mount"
"""The annotation that says whose a claim is; labels hold 63 characters."""
SHARED = "learnloop/shared"
"""A label that lets anybody's jobs use a claim that is not ours: ``learnloop/shared=true``. `USER` lets one user's."""
_ONCE, _READ_MANY, _MANY = "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"
_ENOUGH = {
    "read_only": {_ONCE, _READ_MANY, _MANY},
    "read_write": {_ONCE, _MANY},
    "read_only_many": {_READ_MANY, _MANY},
    "read_write_many": {_MANY},
}
"""Of which modes a claim needs one for an access."""


@dataclass(frozen=True)
class Found:
    """A claim that is labelled ours. ``record`` is None when it does not say whose it is."""

    name: str
    uid: str
    record: Record | None


class Claims:
    """The claims of one namespace.

    Args:
        api: the cluster's ``CoreV1Api``.
    """

    def __init__(self, api: Any, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def record_of(self, key: str) -> Record | None:
        """The record of the claim ``key``; None when there is no such claim of ours."""
        claim = self._read(key)
        return None if claim is None else _record(claim)

    def prepare(self, mount: Mount, one: StorageClass, record: Record) -> bool | None:
        """See to it that there is a claim for ``mount``; whether there was, None while one of that name is being removed.

        Raises:
            Conflict: a claim of that name is not ours, or is too small.
            InvalidInput: the cluster does not take it: a quota, a class that is not there.
        """
        claim = self._read(record.key)
        if claim is None:
            return False if self._create(mount, one, record) else None
        if claim.metadata.deletion_timestamp is not None:
            return None
        found = _record(claim)
        if found is None or found.key != record.key:
            raise Conflict(
                f"mount {mount.name} is to be claim {record.key}, and one of that name is there that we did not make;"
                " rename it, or name it in the mount's `claim`"
            )
        if not _ENOUGH[mount.access] & set(claim.spec.access_modes):
            raise Conflict(
                f"mount {mount.name} is there as {', '.join(claim.spec.access_modes)}, which is not enough for"
                f" {mount.access}; ask for less, or delete it before"
            )
        has = claim.spec.resources.requests["storage"]
        if bytes_of(has) < mount.bytes:
            raise Conflict(
                f"mount {mount.name} is there with {has}, and {mount.size} are asked for; ask for that, or delete it before"
            )
        return True

    def adopt(self, mount: Mount, user: str) -> None:
        """Look whether ``user`` may use the claim that ``mount`` names.

        Raises:
            NotFound: there is none.
            PermissionDenied: it has no label that lets them.
        """
        claim = self._read(str(mount.claim))
        if claim is None or claim.metadata.deletion_timestamp is not None:
            raise NotFound(f"mount {mount.name} is to be claim {mount.claim}, and namespace {self.namespace} has none")
        if not _lets(claim, user):
            raise PermissionDenied(
                f"mount {mount.name}: claim {mount.claim} has no label that lets {user} use it;"
                f" who runs the cluster gives it {USER}={user_label(user)}, or {SHARED}=true"
            )

    def check(self, made: Prepared, user: str) -> None:
        """Look whether ``user`` may use what somebody says was prepared.

        Raises:
            PermissionDenied: it is another person's.
            NotFound: it is gone.
        """
        claim = self._read(made.place)
        if claim is None:
            raise NotFound(f"mount {made.mount.name}: claim {made.place} is gone; clear the task that makes the mounts")
        if not _lets(claim, user):
            raise PermissionDenied(f"mount {made.mount.name}: claim {made.place} is not {user}'s")

    def all(self) -> list[Found]:
        """Every claim that is labelled ours."""
        listed = asked(self.api.list_namespaced_persistent_volume_claim, self.namespace, label_selector=SELECTOR)
        return [Found(claim.metadata.name, claim.metadata.uid, _record(claim)) for claim in listed.items]

    def foreign(self) -> list[str]:
        """The claims of the namespace that are not ours."""
        listed = asked(self.api.list_namespaced_persistent_volume_claim, self.namespace)
        return sorted(claim.metadata.name for claim in listed.items if not _managed(claim))

    def remove(self, found: Found) -> None:
        """Remove a claim of ours, unless another of its name has been made since."""
        from kubernetes.client import V1DeleteOptions, V1Preconditions

        if found.record is None:
            raise ValueError(f"{found.name} was not made by us")
        only = V1DeleteOptions(preconditions=V1Preconditions(uid=found.uid))
        asked(self.api.delete_namespaced_persistent_volume_claim, found.name, self.namespace, body=only)

    def phases(self, names: list[str]) -> dict[str, str]:
        """What state each claim is in: ``Pending``, ``Bound``, ``Lost``, or ``gone``."""
        claims = {name: self._read(name) for name in names}
        return {name: "gone" if claim is None else str(claim.status.phase) for name, claim in claims.items()}

    def _read(self, name: str) -> Any:
        return asked(self.api.read_namespaced_persistent_volume_claim, name, self.namespace)

    def _create(self, mount: Mount, one: StorageClass, record: Record) -> bool:
        from kubernetes.client.exceptions import ApiException

        from learnloop_airflow.pods.state import refusal

        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": record.key,
                "labels": {**MANAGED, USER: user_label(record.user), "learnloop/lifetime": record.lifetime},
                "annotations": {RECORD: record.model_dump_json()},
            },
            "spec": {
                "accessModes": _modes(mount, one),
                "storageClassName": one.storage_class,
                "resources": {"requests": {"storage": str(billed_bytes(mount, one))}},
            },
        }
        try:
            self.api.create_namespaced_persistent_volume_claim(self.namespace, body)
        except ApiException as error:
            if error.status in (400, 403, 422):
                raise InvalidInput(
                    f"the cluster takes no claim for mount {mount.name}: {refusal(error.body)}"
                ) from error
            if error.status == 409:
                return False  # another try has just made it
            raise
        return True


def _modes(mount: Mount, one: StorageClass) -> list[str]:
    """Also what many only read has been written by somebody."""
    if mount.access not in ("read_only_many", "read_write_many"):
        return [_ONCE]
    return [_MANY] if "read_write_many" in one.modes else [_ONCE, _READ_MANY]


def _managed(claim: Any) -> bool:
    labels = claim.metadata.labels or {}
    return all(labels.get(name) == value for name, value in MANAGED.items())


def _record(claim: Any) -> Record | None:
    """Whose a claim is. One is ours if it is labelled so, and says so of itself under its own name."""
    record = Record.read((claim.metadata.annotations or {}).get(RECORD)) if _managed(claim) else None
    return record if record is not None and record.key == claim.metadata.name else None


def _lets(claim: Any, user: str) -> bool:
    record = _record(claim)
    if record is not None:
        return record.user == user
    labels = claim.metadata.labels or {}
    return not _managed(claim) and (labels.get(USER) == user_label(user) or labels.get(SHARED) == "true")
