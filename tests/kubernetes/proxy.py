"""A way to the API server that can be cut: a TCP proxy, and a kubeconfig that leads through it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class ApiProxy:
    def __init__(self, kubeconfig: str, written: Path) -> None:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._server = (server.hostname or "", server.port or 443)
        self._port = 0
        self.start()
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self._port}"
        written.write_text(yaml.safe_dump(config))
        self.kubeconfig = written

    def start(self) -> None:
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        with suppress(OSError):  # stopped already
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> ApiProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
                far = socket.create_connection(self._server)
            except OSError:
                return
            self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        one.close()
        self._open.discard(one)
