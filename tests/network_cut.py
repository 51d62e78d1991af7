"""A network that is cut between two of the processes in namespaces of their own (`namespaces`)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from namespaces import Container

NOBODYS_CARD = "02:00:00:00:00:01"


@contextmanager
def cut(one: Container, other: Container) -> Iterator[None]:
    """Nothing gets from the one to the other, nor back, in any network they share: it is sent to a card that nobody has.

    What is lost so is lost without a word, as by a cable that was pulled; both have their other connections. Whatever fails,
    each way that was cut is mended.
    """
    ways = [
        (Path(f"/proc/{container.process.pid}/ns/net"), peer.addresses[network].partition("/")[0], network)
        for container, peer in ((one, other), (other, one))
        if container.process is not None
        for network in sorted(set(one.addresses) & set(other.addresses))
    ]
    with ExitStack() as mending:  # it does all of them, and raises then
        for place, address, network in ways:
            _neighbour(place, "replace", address, "lladdr", NOBODYS_CARD, "nud", "permanent", "dev", network)
            mending.callback(_neighbour, place, "del", address, "dev", network)
        yield


def _neighbour(network: Path, *words: str) -> None:
    done = subprocess.run(
        ["nsenter", f"--net={network}", "ip", "neigh", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and network.exists():  # else it has ended meanwhile, and its network with it
        raise OSError(f"ip neigh {' '.join(words)}: {done.stderr.strip()}")
