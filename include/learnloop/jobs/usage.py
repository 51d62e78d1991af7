"""What a job uses of the machine, beside what it asked for."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from learnloop.jobs.beside import beside

EVERY_SECONDS = 1.0
GPU_EVERY_SECONDS = 10.0
FIRST_SECONDS = 0.05
"""So soon it is looked at first, then after twice as long each time: short jobs are measured too."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of one attempt. None: it was not measured.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: of processor time, of all its processes.
        memory_bytes: the most it was seen to hold at once. On this machine the resident memory of its processes, in which
            what several share counts for each; in a pod the working set, which is what the limit is held against.
        gpu_memory_bytes: the most its processes held on all GPUs.
        gpus: GPUs that were busy for it, on average: of each that a process of its is on, the share of time in which
            anything ran there, added up. A job has its GPUs alone, so what runs there is its own.
    """

    seconds: float
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    gpus: float | None = None

    @property
    def cpus(self) -> float | None:
        """Processors that were busy for it, on average."""
        return None if self.cpu_seconds is None else self.cpu_seconds / max(self.seconds, 1e-9)


def words(used: Usage, *, cpu: float, memory_bytes: int, gpu: int = 0) -> str:
    """``used`` beside what was asked for, as a line of a log."""
    said = []
    if used.memory_bytes is not None:
        said.append(f"asked for {_size(memory_bytes)} of memory, used at most {_size(used.memory_bytes)}")
        if used.memory_bytes > memory_bytes:
            said.append(f"that is more than it asked for: let it ask for {_whole(used.memory_bytes)}")
    if used.cpus is not None:
        said.append(f"asked for {cpu:g} processors, used {used.cpus:.2f} on average over {used.seconds:.1f} s")
    if gpu and used.gpus is not None:
        said.append(f"asked for {gpu} GPUs, kept {used.gpus:.2f} busy on average")
    if gpu and used.gpu_memory_bytes is not None:
        said.append(f"asked for {gpu} GPUs, held at most {_size(used.gpu_memory_bytes)} of their memory")
    return "; ".join(said) or "what it used was not measured: it ended too soon, or nobody counts here"


@contextmanager
def measured(root: int, told: Callable[[Usage], None], *, gpu: bool = False) -> Iterator[None]:
    """While the block runs, watch the processes below ``root``; at the end, tell what they used.

    ``root`` must not have been waited for by then: ended processes count in it. Memory between two looks is known for
    single processes, by the kernel's own mark, and not after the last look.
    """
    meter = _Meter(root, gpu=gpu)

    def watch(ended: threading.Event) -> None:
        wait = FIRST_SECONDS
        while not ended.wait(wait):
            meter.look()
            wait = min(2 * wait, EVERY_SECONDS)

    try:
        with beside(watch, "usage"):
            yield
    finally:
        meter.look()
        told(meter.usage())


class _Meter:
    def __init__(self, root: int, *, gpu: bool) -> None:
        self._root, self._begun = root, time.monotonic()
        self._ticks = self._memory = 0
        self._gpu: int | None = None
        self._nvidia = shutil.which("nvidia-smi") if gpu else None
        self._next_gpu, self._last_gpu = 0.0, self._begun
        self._busy = self._watched = 0.0

    def look(self) -> None:
        jobs = _below(self._root)
        ticks = _ticks_of(self._root, own=False) + sum(_ticks_of(pid, own=True) for pid in jobs)
        self._ticks = max(self._ticks, ticks)
        sizes = [_memory_of(pid) for pid in jobs]
        together, most = sum(now for now, _ in sizes), max((most for _, most in sizes), default=0)
        self._memory = max(self._memory, together, most)
        if self._nvidia is not None and jobs and time.monotonic() >= self._next_gpu:
            self._look_at_gpus(self._nvidia, set(jobs))
            soon = max(EVERY_SECONDS, self._last_gpu - self._begun)  # short jobs are measured too
            self._next_gpu = self._last_gpu + min(soon, GPU_EVERY_SECONDS)

    def usage(self) -> Usage:
        seconds = time.monotonic() - self._begun
        busy = self._busy / self._watched if self._watched else None
        return Usage(seconds, self._ticks / _TICKS, self._memory or None, self._gpu, busy)

    def _look_at_gpus(self, program: str, jobs: set[int]) -> None:
        """What is seen now counts for the time since the last look."""
        held = _held_on_gpus(program, jobs)
        self._gpu = max(self._gpu or 0, sum(held.values()))
        now = time.monotonic()
        if (busy := _busy_gpus(program, held.keys())) is not None:
            self._busy += busy * (now - self._last_gpu)
            self._watched += now - self._last_gpu
        self._last_gpu = now


def _below(root: int) -> list[int]:
    """All processes below ``root``."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - as the guardian
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                    children = [int(child) for child in file.read().split()]
                found += children
                waiting += children
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found


def _ticks_of(pid: int, *, own: bool) -> int:
    """Processor time of the children that ``pid`` has waited for, and with ``own`` its own."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    user, system, waited_user, waited_system = (int(field) for field in fields[11:15])
    return waited_user + waited_system + (user + system if own else 0)


def _memory_of(pid: int) -> tuple[int, int]:
    """Resident bytes now, and the most there were; nothing of one that has ended."""
    found = {}
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith((b"VmRSS:", b"VmHWM:")):
                    name, size, _ = line.split()
                    found[name] = int(size) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return found.get(b"VmRSS:", 0), found.get(b"VmHWM:", 0)


def _held_on_gpus(program: str, pids: set[int]) -> dict[str, int]:
    """Bytes that ``pids`` hold on each GPU that one of them is on, by its UUID, as NVIDIA's own program says."""
    held: dict[str, int] = {}
    for pid, gpu, size in _said(program, "--query-compute-apps=pid,gpu_uuid,used_memory", 3):
        if pid.isdigit() and int(pid) in pids:
            held[gpu] = held.get(gpu, 0) + (int(size) << 20 if size.isdigit() else 0)
    return held


def _busy_gpus(program: str, gpus: Collection[str]) -> float | None:
    """How many of ``gpus`` were busy of late; None: it is not said of one of them, as of parts of a GPU (MIG)."""
    rows = _said(program, "--query-gpu=uuid,utilization.gpu", 2)
    busy = {gpu: int(percent) / 100 for gpu, percent in rows if percent.isdigit()}
    if not rows or not busy.keys() >= set(gpus):
        return None
    return sum(busy[gpu] for gpu in gpus)


def _said(program: str, query: str, columns: int) -> list[list[str]]:
    """The rows that NVIDIA's program answers; none where it fails."""
    asked = [program, query, "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=GPU_EVERY_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[value.strip() for value in line.split(",")] for line in said.splitlines()]
    return [row for row in rows if len(row) == columns]


def _whole(amount: int) -> str:
    """What to ask for where ``amount`` bytes were used: a fifth more, in whole units."""
    mebibytes = math.ceil(1.2 * amount / 2**20)
    return f"{mebibytes}Mi" if mebibytes < 4096 else f"{math.ceil(mebibytes / 1024)}Gi"


def _size(amount: int) -> str:
    return f"{amount / 2**30:.2g} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"
