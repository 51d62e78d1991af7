"""Set up the Python environment: `python3 bootstrap.py [--test]`. Standard library only: nothing is installed yet.

Makes ``<home>/venv`` with exactly what ``requirements.txt`` (and, for tests, ``tests/requirements.txt``) locks, once:
a stamp holds the hash of the lock files, and an unchanged stamp ends the set-up at once.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PYTHON = (3, 11)
UV = "uv==0.13.9"
MINIMUM_FREE_BYTES = 3 * 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test", action="store_true", help="also what the tests need")
    arguments = parser.parse_args()
    home = Path(os.environ.get("LEARNLOOP_HOME", ".learnloop")).resolve()
    locks = [ROOT / "requirements.txt"]
    if arguments.test:
        locks.append(ROOT / "tests" / "requirements.txt")
    wanted = _fingerprint(locks)
    stamp = home / "venv" / f"stamp-{'test' if arguments.test else 'run'}"
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    # What the tests need includes what a run needs: never take packages away from a test environment.
    test_lock = ROOT / "tests" / "requirements.txt"
    if not arguments.test and (home / "venv" / "stamp-test").exists():
        locks.append(test_lock)

    problem = _missing()
    if problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if free < MINIMUM_FREE_BYTES:
        print(f"setup: {home} has {free / 2**30:.1f} GiB free; the set-up needs 3 GiB", file=sys.stderr)
        return 1
    try:
        _install(home, locks)
    except subprocess.CalledProcessError as error:
        print(f"setup: `{' '.join(map(str, error.cmd))}` failed (exit {error.returncode}); see above", file=sys.stderr)
        return 1
    stamp.write_text(wanted)
    return 0


def _missing() -> str | None:
    if sys.version_info[:2] != PYTHON:
        return (
            f"Python {'.'.join(map(str, PYTHON))} is needed, this is {sys.version.split()[0]};"
            " name another with `make PYTHON3=/path/to/python3.11 ...`"
        )
    if not sys.platform.startswith("linux"):
        return f"Linux is needed, this is {sys.platform}"
    return None


def _install(home: Path, locks: list[Path]) -> None:
    started = time.monotonic()
    venv = home / "venv"
    uv = _uv(home)
    environment = {**os.environ, "VIRTUAL_ENV": str(venv), "UV_LINK_MODE": os.environ.get("UV_LINK_MODE", "hardlink")}
    if not (venv / "bin" / "python").exists():
        _say("making the virtual environment")
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], environment)
    _say(f"installing {sum(_pins(lock) for lock in locks)} locked packages (some 1.3 GB)")
    # All index folders that the machine's pip knows count as equals: the hashes decide what is let in.
    _run([uv, "pip", "sync", "--require-hashes", *map(str, locks)], environment)
    _say("installing learnloop itself")
    # The build back end is locked too, so nothing is fetched that no hash vouches for.
    _run([uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], environment)
    _say("compiling to bytecode, so that starts are quick")
    site = next((venv / "lib").glob("python*/site-packages"))
    subprocess.run(  # some packages ship files for other Pythons, which do not compile: no failure of ours
        [str(venv / "bin" / "python"), "-m", "compileall", "-q", "-q", "-j", "0", str(site)], check=False
    )
    _say(f"done in {time.monotonic() - started:.0f} s")


def _uv(home: Path) -> str:
    """uv from PATH, or from a small environment of its own."""
    found = shutil.which("uv")
    if found:
        return found
    own = home / "uv"
    program = own / "bin" / "uv"
    if not program.exists():
        _say("installing uv")
        try:
            _run([sys.executable, "-m", "venv", str(own)], dict(os.environ))
        except subprocess.CalledProcessError:
            shutil.rmtree(own, ignore_errors=True)
            print(
                "setup: Python's venv module does not work here. On Debian and Ubuntu: apt-get install python3-venv",
                file=sys.stderr,
            )
            raise
        _run([str(own / "bin" / "python"), "-m", "pip", "install", "--quiet", UV], dict(os.environ))
    return str(program)


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, env=environment, cwd=ROOT)


def _pins(lock: Path) -> int:
    return sum("==" in line and not line.startswith((" ", "#")) for line in lock.read_text().splitlines())


def _fingerprint(locks: list[Path]) -> str:
    digest = hashlib.sha256(str(ROOT).encode())
    for path in [*locks, ROOT / "pyproject.toml"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
