"""What a mount costs in a storage class, and why it cannot be there."""

from __future__ import annotations

from collections.abc import Sequence

from learnloop.jobs.mount import PERFORMANCE, Mount
from learnloop.jobs.quantities import bytes_of
from learnloop.mounts.table import StorageClass

GIB = 2**30
MONTH_DAYS = 365.25 / 12
OBJECT_MIB = 8
"""Requests are counted as if a mount's bytes were in objects of this size, the part size of common S3 clients."""


def refusal(mount: Mount, one: StorageClass) -> str | None:
    """Why ``mount`` cannot be in ``one``; None when it can."""
    need = PERFORMANCE[mount.performance]
    if one.kind.only_caches and not mount.cache:
        return "it is emptied with each pod, and the mount is no cache"
    if mount.access not in one.modes:
        return f"it cannot be mounted {mount.access.replace('_', ' ')}"
    if one.how == "staged" and mount.lifetime == "run":
        return "what is gone with its run would be uploaded to be deleted"
    if mount.lifetime == "user" and not one.lasts:
        return "the end of one disk would lose what is kept for a user"
    if one.largest is not None and mount.bytes > bytes_of(one.largest):
        return f"it holds at most {one.largest}"
    if one.capacity is not None and billed_bytes(mount, one) > bytes_of(one.capacity):
        return f"there are {one.capacity} of it"
    if one.latency_ms > need.latency_ms:
        return f"a first byte takes {one.latency_ms:g} ms, and {mount.performance} is {need.latency_ms:g}"
    if one.iops < need.iops:
        return f"it does {one.iops:g} operations a second, and {mount.performance} is {need.iops:g}"
    if throughput(mount, one) < need.mib_per_s:
        return f"it gives {throughput(mount, one):.3g} MiB/s, and {mount.performance} is {need.mib_per_s:g}"
    return None


def throughput(mount: Mount, one: StorageClass) -> float:
    """MiB a second of ``mount`` in ``one``."""
    if one.mib_per_s_per_tib is None:
        return one.mib_per_s
    return min(one.mib_per_s, one.mib_per_s_per_tib * billed_bytes(mount, one) / 2**40)


def billed_bytes(mount: Mount, one: StorageClass) -> int:
    return max(mount.bytes, bytes_of(one.smallest))


def paid_months(mount: Mount, one: StorageClass) -> float:
    return max(mount.stays, one.price.minimum_days) / MONTH_DAYS


def gib_months(mount: Mount, one: StorageClass) -> float:
    """What is paid for of storage, while the mount stays."""
    return billed_bytes(mount, one) / GIB * paid_months(mount, one)


def least_gib_months(mount: Mount, one: StorageClass) -> float:
    """What a class with a minimum charges at least for storage while ``mount`` is in it."""
    return bytes_of(one.pool_minimum or "0") / GIB * paid_months(mount, one)


def fees(mount: Mount, one: StorageClass) -> float:
    """What is paid for reading and writing: all of it is written once, and read as often as the mount says."""
    price, gib = one.price, mount.bytes / GIB
    thousands = mount.bytes / (OBJECT_MIB * 2**20) / 1000
    read = mount.reads_per_month * mount.stays / MONTH_DAYS * (gib * price.read_gib + thousands * price.get_1000)
    written = 0.0 if mount.only_read else gib * price.write_gib + thousands * price.put_1000
    return read + written


def class_cost(mounts: Sequence[Mount], one: StorageClass) -> float:
    """What ``mounts`` cost together in ``one``. It never falls when a mount is added."""
    if not mounts:
        return 0.0
    stored = sum(gib_months(mount, one) for mount in mounts)
    if one.pool_minimum is not None:
        stored = max(stored, *(least_gib_months(mount, one) for mount in mounts))
    return stored * one.price.gib_month + sum(fees(mount, one) for mount in mounts)


def fits(mounts: Sequence[Mount], one: StorageClass) -> bool:
    """Whether there is room for all of ``mounts`` in ``one``."""
    return one.capacity is None or sum(billed_bytes(mount, one) for mount in mounts) <= bytes_of(one.capacity)
