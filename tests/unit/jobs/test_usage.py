"""What processes used, measured on real ones; and said in words."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from learnloop.jobs import usage
from learnloop.jobs.process import GuardedProcess
from learnloop.jobs.usage import Usage, measured, words

MIB = 2**20
WORK = """
import os, subprocess, sys, time
held = bytearray(150 * 2**20)
child = subprocess.Popen([sys.executable, "-c", "held = bytearray(100 * 2**20); print('here', flush=True); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
begun = time.process_time()
while time.process_time() - begun < 0.6:
    pass
time.sleep(0.3)  # the two are seen together
child.communicate(b"\\n")
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look so often that also a slow machine, on which a program's start takes a second, sees what is held for a moment."""
    monkeypatch.setattr(usage, "EVERY_SECONDS", 0.05)


def used_by(program: str, tmp_path: Path, *, gpu: bool = False) -> Usage:
    told: list[Usage] = []
    with GuardedProcess([sys.executable, "-c", program], environment=dict(os.environ), cwd=tmp_path) as process:
        with measured(process.pid, told.append, gpu=gpu):
            for line in process.lines(60):
                pytest.fail(line.decode())
        process.wait()
    (used,) = told
    return used


def test_memory_of_all_processes_at_once_and_processor_time_of_all_that_ended(tmp_path: Path) -> None:
    used = used_by(WORK, tmp_path)
    assert used.memory_bytes is not None
    assert used.cpu_seconds is not None
    assert 250 * MIB < used.memory_bytes < 350 * MIB
    assert 0.6 <= used.cpu_seconds < 2
    assert used.seconds > 0.9
    assert used.gpu_memory_bytes is None


def test_a_child_that_ended_between_two_looks_counts_in_processor_time(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    used = used_by(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])", tmp_path)
    assert (used.cpu_seconds or 0) >= 0.4


def test_use_of_gpus_is_asked_of_nvidias_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: a program in its place answers as the real one does for whoever runs below us."""
    program = tmp_path / "nvidia-smi"
    answers = (
        "import os, sys\nmine = []\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try:\n"
        "        line = open(f'/proc/{pid}/cmdline').read()\n"
        "    except OSError:\n"
        "        continue\n"
        "    if 'held on the gpu' in line: mine.append(pid)\n"
        "if sys.argv[1] == '--query-compute-apps=pid,gpu_uuid,used_memory':\n"
        "    for pid in mine: print(f'{pid}, GPU-a, 300'); print(f'{pid}, GPU-b, [N/A]')\n"
        "    print('1, GPU-a, 9999'); print('2, GPU-c, [N/A]')\n"
        "elif sys.argv[1] == '--query-gpu=uuid,utilization.gpu':\n"
        "    print('GPU-a, 80'); print(f'GPU-b, {BUSY}'); print('GPU-c, 100')\n"
    )

    def says(busy: str) -> None:
        program.write_text(f"#!{sys.executable}\nBUSY = {busy!r}\n" + answers)

    says("45")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    work = "import time; 'held on the gpu'; time.sleep(4)"
    used = used_by(work, tmp_path, gpu=True)
    assert used.gpu_memory_bytes == 300 * MIB
    assert used.gpus is not None
    assert 0.3 < used.gpus <= 1.25  # of two; until it has begun, which may take long on a busy machine, of none
    says("[N/A]")  # as of a GPU that is divided
    used = used_by(work, tmp_path, gpu=True)
    assert (used.gpu_memory_bytes, used.gpus) == (300 * MIB, None)
    program.write_text("#!/bin/sh\nexit 9\n")
    used = used_by("pass", tmp_path, gpu=True)
    assert used.gpu_memory_bytes in (None, 0)
    assert used.gpus is None


def test_a_process_that_is_gone_already_is_no_fault(tmp_path: Path) -> None:
    told: list[Usage] = []
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with measured(gone.pid, told.append):
        pass
    assert told[0].memory_bytes is None


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (
            Usage(10.0, 7.0, 410 * MIB),
            "asked for 2 GiB of memory, used at most 410 MiB; asked for 2 processors, used 0.70 on average over 10.0 s",
        ),
        (
            Usage(10.0, 7.0, 3 * 2**30, 5 * 2**30, 0.5),
            "asked for 2 GiB of memory, used at most 3 GiB; that is more than it asked for: let it ask for 3687Mi;"
            " asked for 2 processors, used 0.70 on average over 10.0 s;"
            " asked for 1 GPUs, kept 0.50 busy on average; asked for 1 GPUs, held at most 5 GiB of their memory",
        ),
        (Usage(10.0), "what it used was not measured: it ended too soon, or nobody counts here"),
    ],
)
def test_it_is_said_beside_what_was_asked_for(used: Usage, said: str) -> None:
    assert words(used, cpu=2, memory_bytes=2 * 2**30, gpu=int(used.gpu_memory_bytes is not None)) == said
