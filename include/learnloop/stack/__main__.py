"""`python -m learnloop.stack up | down | status | supervise | password NAME`: the stack of one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from learnloop.errors import LearnloopError
from learnloop.settings import load
from learnloop.stack import postgres
from learnloop.stack.places import Places, read_json
from learnloop.stack.supervisor import Supervisor, remove_strays

START_SECONDS = 240


def up(places: Places) -> int:
    """Start the stack unless it runs, wait until all of it is healthy, and say where things are."""
    places.prepare()
    started = time.monotonic()
    mine = supervisor_pid(places) is None
    if mine:
        places.status_file.unlink(missing_ok=True)
        start_supervisor(places)
    try:
        wait_until_running(places)
    except KeyboardInterrupt:
        if mine:
            print("\nstopping what was started ...", flush=True)
            down(places)
        return 130
    except LearnloopError as error:
        print(f"up: {error}", file=sys.stderr)
        return 1
    print(f"up: all healthy after {time.monotonic() - started:.0f} s\n")
    print_addresses(places)
    return 0


def down(places: Places) -> int:
    """Stop what ``up`` started, whatever state it is in; nothing else."""
    pid = supervisor_pid(places)
    if pid is not None:
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except psutil.TimeoutExpired:
            print(f"down: the supervisor ({pid}) did not stop in 60 s; killing it", file=sys.stderr)
            process.kill()
    # A supervisor that was killed left its children and PostgreSQL.
    remove_strays(places.home)
    postgres.stop(places.postgres)
    places.pid_file.unlink(missing_ok=True)
    print("down: stopped" if pid is not None else "down: nothing was running")
    return 0


def status(places: Places) -> int:
    if supervisor_pid(places) is None:
        print("the stack is not running; `make up` starts it")
        return 3
    report = read_json(places.status_file)
    print(f"{report['state']}  {report.get('message', '')}  (state directory {places.home})")
    for name, part in dict(report["components"]).items():  # type: ignore[call-overload]
        word = "healthy" if part["healthy"] else "starting"
        again = f", restarted {part['restarts']} times" if part["restarts"] else ""
        print(f"  {name:<16} {word:<9} pid {part['pid']}{again}")
    print()
    print_addresses(places)
    return 0


def password(places: Places, name: str) -> int:
    """Give an existing user a new password, and show it."""
    from learnloop.stack.initialise import set_users

    if supervisor_pid(places) is None:
        print("password: the stack is not running; `make up` starts it", file=sys.stderr)
        return 1
    made = set_users(
        [{"name": name, "role": "viewer", "reset": True}], running_environment(places), places.logs / "roles.log"
    )
    print(f"{name}: {made[name]}")
    return 0


def start_supervisor(places: Places) -> None:
    log = (places.logs / "supervisor.log").open("ab")
    subprocess.Popen(
        [sys.executable, "-m", "learnloop.stack", "supervise"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LEARNLOOP_HOME": str(places.home)},
        start_new_session=True,
    )
    log.close()


def wait_until_running(places: Places) -> None:
    """Wait until every component is healthy, printing what is being waited for.

    Raises:
        LearnloopError: the supervisor ended, or the stack did not become healthy in time.
    """
    deadline = time.monotonic() + START_SECONDS
    said = ""
    while True:
        report = read_json(places.status_file)
        if report.get("state") == "running" and supervisor_pid(places) is not None:
            return
        log = places.logs / "supervisor.log"
        # Not before all is stopped again: whoever is told may start it anew, or remove it.
        if report.get("state") in ("failed", "stopped") and supervisor_pid(places) is None:
            raise LearnloopError(f"the stack did not start: {report.get('message') or 'it was stopped'} (log: {log})")
        if time.monotonic() > deadline:
            raise LearnloopError(
                f"not healthy after {START_SECONDS} s, still waiting for: {said} (logs: {places.logs})"
            )
        waiting = [name for name, part in dict(report.get("components", {})).items() if not part["healthy"]]  # type: ignore[call-overload]
        saying = ", ".join(waiting) or str(report.get("message", ""))
        if saying and saying != said:
            said = saying
            print(f"up: waiting for {saying}", flush=True)
        time.sleep(0.25)


def supervisor_pid(places: Places) -> int | None:
    """The supervisor's process id while it runs."""
    try:
        pid = int(places.pid_file.read_text())
        command = psutil.Process(pid).cmdline()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return pid if "supervise" in command else None


def running_environment(places: Places) -> dict[str, str]:
    """The environment of the running stack's components."""
    from learnloop.stack.components import environment

    handle = postgres.start(places.postgres)
    ports = {name: int(str(port)) for name, port in read_json(places.home / "ports.json").items()}
    settings = load({"LEARNLOOP_HOME": str(places.home)})
    return environment(settings, places, ports, postgres.url(handle, "airflow", "psycopg2"))


def print_addresses(places: Places) -> None:
    settings = load({"LEARNLOOP_HOME": str(places.home)})
    print(f"  Airflow          {settings.api_url}/")
    print(f"  annotation page  {settings.api_url}/annotate/")
    print(f"  HTTP API         {settings.loop_api_url}/")
    print(f"  model server     {settings.serving_url}/v2")
    passwords = places.secrets / "first_passwords.json"
    if passwords.exists():
        print("\n  users and passwords (shown this once; `make password USER=name` makes a new one):")
        for name, word in json.loads(passwords.read_text()).items():
            print(f"    {name:<12} {word}")
        passwords.unlink()
    print("\n  `make down` stops it")


def main() -> int:
    places = Places(Path(os.environ.get("LEARNLOOP_HOME", ".learnloop")).resolve())
    match sys.argv[1:]:
        case ["up"]:
            return up(places)
        case ["down"]:
            return down(places)
        case ["status"]:
            return status(places)
        case ["password", name]:
            return password(places, name)
        case ["supervise"]:
            Supervisor(places.home).run()
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
