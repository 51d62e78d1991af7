"""Containers, wires and cuts of the fault campaign leave nothing half done: needs root."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from namespaces import Container, Publisher, Switchboard, possible
from network_cut import _neighbour, cut
from waits import eventually

pytestmark = pytest.mark.skipif(bool(possible()), reason=possible() or "possible")


@pytest.fixture
def switchboard() -> Iterator[Switchboard]:
    made = Switchboard({"front": "172.30.71.1/24"})
    yield made
    made.close()


def container(name: str, address: str, folder: Path) -> Container:
    return Container(
        name, ["/usr/bin/sleep", "600"], {"PATH": "/usr/bin:/bin"}, {}, ["/tmp:mode=1777"], folder / name, {"front": address}
    )  # fmt: skip


def test_of_a_container_that_gets_no_network_nothing_is_left(switchboard: Switchboard, tmp_path: Path) -> None:
    made = container("one", "172.30.71.999/24", tmp_path)
    with pytest.raises(Exception, match="ip"):
        made.start(switchboard)
    assert not made.running
    assert [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])] == []
    with pytest.raises(LookupError, match="nothing runs inside one"):
        made.inside()


def permanent(one: Container) -> bool:
    """Whether an entry that was put in by hand stands in its table of neighbours: whom it names is cut off."""
    assert one.process is not None
    command = ["nsenter", f"--net=/proc/{one.process.pid}/ns/net", "ip", "neigh", "show", "nud", "permanent"]
    return bool(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def cut_and_mended_half_by_another(one: Container, other: Container) -> None:
    with cut(one, other):
        assert other.process is not None
        _neighbour(Path(f"/proc/{other.process.pid}/ns/net"), "del", "172.30.71.11", "dev", "front")


def test_where_one_way_cannot_be_mended_the_other_is_all_the_same(switchboard: Switchboard, tmp_path: Path) -> None:
    one, other = container("one", "172.30.71.11/24", tmp_path), container("other", "172.30.71.12/24", tmp_path)
    try:
        for each in (one, other):
            each.start(switchboard)
        with cut(one, other):
            assert permanent(one)
            assert permanent(other)
        assert not permanent(one)
        assert not permanent(other)
        with pytest.raises(OSError, match=r"ip neigh del 172\.30\.71\.11"):
            cut_and_mended_half_by_another(one, other)
        assert not permanent(one)
        with cut(one, other):
            one.kill()  # its network is gone with it, which is no fault
        assert not permanent(other)
    finally:
        one.kill()
        other.kill()


def test_callers_of_a_published_port_do_not_wait_for_each_other(switchboard: Switchboard) -> None:
    publisher = Publisher(switchboard, "172.30.71.50", 8080)  # nobody is there: who connects waits
    before = set(threading.enumerate())
    callers = [socket.create_connection(("127.0.0.1", publisher.port)) for _ in range(5)]
    try:
        eventually(lambda: len(set(threading.enumerate()) - before) == 5)
        for caller in callers:
            caller.settimeout(60)
            assert caller.recv(1) == b""
    finally:
        for caller in callers:
            caller.close()
        publisher.close()
