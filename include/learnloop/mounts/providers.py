"""The kinds of storage, as classes: what each can do, and how a mount of it is realised. A new one is a class here."""

from __future__ import annotations

from typing import ClassVar, Literal

from learnloop.errors import InvalidInput

How = Literal["pod", "claim", "staged"]
"""Of the pod itself; a PersistentVolumeClaim; or a folder that is fetched before and uploaded after."""

ALL = frozenset({"read_only", "read_write", "read_only_many", "read_write_many"})
ONE_NODE = frozenset({"read_only", "read_write"})
MANY_READ = ONE_NODE | {"read_only_many"}


class Provider:
    """What a kind of storage can do. A storage class of the deployment may say less or more of ``access`` and ``durable``.

    ``durable``: the end of one disk or one node loses nothing, so that what people keep may be there.
    """

    name: ClassVar[str]
    how: ClassVar[How] = "claim"
    access: ClassVar[frozenset[str]] = ONE_NODE
    durable: ClassVar[bool] = True
    only_caches: ClassVar[bool] = False
    addressed: ClassVar[tuple[str, ...]] = ("storage_class",)
    """By which field a storage class says how it is reached: one of these, or none."""


class EmptyDir(Provider):
    """Of the node's disk, for as long as one pod lives: each job finds it empty."""

    name = "empty_dir"
    how = "pod"
    durable = False
    only_caches = True
    addressed = ()


class LocalDisk(Provider):
    """A disk in one node, which holds pods that use it to that node."""

    name = "local_disk"
    durable = False


class Ssd(Provider):
    """A network volume on SSDs, attached to one node at a time."""

    name = "ssd"


class Hdd(Provider):
    """A network volume on hard disks: cheap by the GiB, and slow for what is not read in one go."""

    name = "hdd"


class Nfs(Provider):
    """A shared file system."""

    name = "nfs"
    access = ALL


class CephBlock(Provider):
    """A RADOS block device, attached to one node at a time; to several if they only read."""

    name = "ceph_block"
    access = MANY_READ


class CephFile(Provider):
    """CephFS, shared."""

    name = "ceph_file"
    access = ALL


class S3(Provider):
    """Objects: fetched into a folder before a job and uploaded after; by a claim where the cluster has a CSI driver for it.

    Two that wrote at once would undo each other's changes.
    """

    name = "s3"
    how = "staged"
    access = MANY_READ
    addressed = ("url", "storage_class")


PROVIDERS: dict[str, Provider] = {
    one.name: one for one in (EmptyDir(), LocalDisk(), Ssd(), Hdd(), Nfs(), S3(), CephBlock(), CephFile())
}


def provider(name: str) -> Provider:
    """The provider called ``name``.

    Raises:
        InvalidInput: there is none.
    """
    if name not in PROVIDERS:
        raise InvalidInput(f"there is no storage provider {name!r}; there are {', '.join(sorted(PROVIDERS))}")
    return PROVIDERS[name]
