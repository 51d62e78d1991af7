"""Which ports of 127.0.0.1 a stack uses."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from learnloop.errors import InvalidInput

DEFAULTS = {"gateway": 8080, "serving": 8090, "api": 8081, "page": 8501}


class Ports:
    """A free port for each part: the one used last, else its default, else any.

    Until it is closed no other stack chooses one of them, though nobody listens there yet: each is claimed by a name of
    Linux's, which the kernel gives to one process and takes back when that ends. ``LEARNLOOP_PORT`` fixes the gateway's, the
    one that people type.

    Raises:
        InvalidInput: the port that was asked for is taken.
    """

    def __init__(self, remembered: Mapping[str, int]) -> None:
        self._claims: list[socket.socket] = []
        self.chosen: dict[str, int] = {}
        fixed = os.environ.get("LEARNLOOP_PORT")
        if fixed is not None:
            self.chosen["gateway"] = self._fixed(fixed)
        for part, default in DEFAULTS.items():
            if part not in self.chosen:
                candidates = [port for port in (remembered.get(part), default) if port is not None]
                self.chosen[part] = next(filter(self._take, candidates), 0) or self._take_any()

    def close(self) -> None:
        for claim in self._claims:
            claim.close()

    def _fixed(self, asked: str) -> int:
        if not asked.isdigit() or not 0 < int(asked) < 65536:
            raise InvalidInput(f"LEARNLOOP_PORT is {asked!r}; it must be a port number from 1 to 65535")
        if not self._take(int(asked)):
            raise InvalidInput(
                f"port {asked} of 127.0.0.1 is in use (LEARNLOOP_PORT);"
                " stop what uses it, name another, or leave the variable unset to have a free one chosen"
            )
        return int(asked)

    def _take(self, port: int) -> bool:
        """Claim ``port``, if it is free."""
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0learnloop-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            return False
        self._claims.append(claim)
        return True

    def _take_any(self) -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if self._take(port):
                return port
