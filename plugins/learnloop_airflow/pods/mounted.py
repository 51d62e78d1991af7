"""A job's mounts as parts of its pod."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubernetes.client import models as k8s

from learnloop.jobs.mount_check import FILES

if TYPE_CHECKING:
    from learnloop.mounts.made import Prepared


def volumes(mounts: Sequence[Prepared]) -> list[k8s.V1Volume]:
    """The volumes that ``mounts`` need beside the template's."""
    found = []
    for one in mounts:
        if one.how == "pod":
            source = {"empty_dir": k8s.V1EmptyDirVolumeSource(size_limit=one.mount.size)}
        elif one.how == "claim":
            claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=one.place, read_only=one.mount.only_read or None)
            source = {"persistent_volume_claim": claim}
        else:
            continue  # below the namespaces, which the template has
        found.append(k8s.V1Volume(name=_name(one), **source))
    return found


def volume_mounts(mounts: Sequence[Prepared], namespaces: Path) -> list[k8s.V1VolumeMount]:
    """Where the job's container has them. Of what we made it sees the files, and not whose they are."""
    found = []
    for one in mounts:
        volume, sub_path = _name(one), FILES if one.record is not None and one.how == "claim" else None
        if one.how == "folder":
            volume, sub_path = "namespaces", Path(one.place).relative_to(namespaces).as_posix()
        found.append(
            k8s.V1VolumeMount(
                name=volume, mount_path=one.mount.path, sub_path=sub_path, read_only=one.mount.only_read or None
            )
        )
    return found


def _name(one: Prepared) -> str:
    # Of a name's letters those that a volume's may have; variables are unique, so these are.
    return one.mount.variable.lower().replace("_", "-")[:63].rstrip("-")
