"""What the campaign puts faults in with does what it says: a clock that is set, a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from campaign import clock
from campaign.disks import filled, small_disk, unmount
from campaign.kinds import slowed
from campaign.seen import Hold, Seen
from waits import eventually

TELL = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"


@pytest.mark.skipif(not clock.POSSIBLE, reason="no C compiler here (apt-get install gcc libc6-dev)")
def test_a_clock_is_set_for_some_processes_and_their_monotonic_clock_goes_on(tmp_path: Path) -> None:
    made = clock.Clock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", TELL], env=made.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for away in (0.0, 300.5, -300.5, 0.0):
            made.set(away)
            process.stdin.write("now\n")
            process.stdin.flush()
            told, monotonic = map(float, process.stdout.readline().split())
            assert told - time.time() == pytest.approx(away, abs=5)
            assert monotonic == pytest.approx(time.monotonic(), abs=5)
        process.stdin.write("\n")


def test_a_lease_that_a_clock_ended_is_no_second_holder() -> None:
    two = [Hold(1, "ann", 10, 20), Hold(1, "bo", 15, 25)]
    assert Seen(holds=list(two)).overlapping() == [tuple(two)]
    assert Seen(holds=list(two), clock_set=[14]).overlapping() == []
    assert Seen(holds=list(two), clock_set=[5, 16]).overlapping() != []  # set before, or after the second got it


def test_who_is_slowed_runs_for_a_twentieth_of_the_time_and_then_goes_on() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            process = psutil.Process(busy.pid)
            before = process.cpu_times().user
            seconds = slowed(busy.pid, 3)
            assert seconds >= 3
            assert process.cpu_times().user - before < 0.2 * seconds
            eventually(lambda: process.cpu_times().user - before > 0.5 * seconds)
        finally:
            busy.kill()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if not small_disk(tmp_path / "disk", 2):
        pytest.skip("only root can mount a disk")
    yield tmp_path / "disk"
    unmount(tmp_path / "disk")


def test_a_full_disk_takes_nothing_and_has_room_again_after_that(disk: Path) -> None:
    filler = threading.Thread(target=filled, args=(disk, 0.5))
    filler.start()
    eventually(lambda: os.statvfs(disk).f_bavail == 0)
    with pytest.raises(OSError, match="No space left"):
        (disk / "mine").write_bytes(b"x" * 8192)
    filler.join()
    (disk / "mine").write_bytes(b"x" * 8192)
