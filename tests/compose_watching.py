"""What watches docker-compose.yaml's services when they run natively, from outside: its Prometheus, asked from here, and
somebody whom its Alertmanager tells.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compose_native import Native
from namespaces import USER, Container, Publisher
from prometheus_server import Prometheus

TOLD = "172.30.70.250"
DOCUMENTED = """    # webhook_configs:
    #   - url_file: /run/secrets/alert_webhook
"""
"""How deploy/alertmanager/alertmanager.yml says that a webhook is given. Debian's 0.25 does not know the file yet."""
TAKES = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open("/posts/all.jsonl", "ab") as file:
            file.write(body + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", 9000), Handler).serve_forever()
"""


def tell_by_webhook(stack: Native) -> None:
    """Before the stack starts: Alertmanager's own configuration, with a webhook of ours as its receiver."""
    container = stack.containers["alertmanager"]
    own, _ = container.mounts["/etc/alertmanager"]
    folder = stack.folder / "alertmanager"
    shutil.copytree(own, folder)
    text = (folder / "alertmanager.yml").read_text()
    assert DOCUMENTED in text
    given = f"    webhook_configs:\n      - url: http://{TOLD}:9000/\n"
    (folder / "alertmanager.yml").write_text(text.replace(DOCUMENTED, given))
    stack.containers["alertmanager"] = Container(
        **{**vars(container), "mounts": {**container.mounts, "/etc/alertmanager": (folder, False)}}
    )


class Told:
    """Who is told of alerts: ``posts`` is what came so far."""

    def __init__(self, stack: Native) -> None:
        self._folder = stack.folder / "posts"
        self._folder.mkdir()
        os.chown(self._folder, USER, USER)
        self._server = Container(
            "alert-webhook", ["/usr/bin/python3", "-c", TAKES], {"HOME": "/tmp", "PATH": "/usr/bin:/bin"},
            {"/posts": (self._folder, True)}, ["/tmp:mode=1777"], stack.folder / "run" / "alert-webhook",
            {"outside": f"{TOLD}/24"},
        )  # fmt: skip
        self._server.start(stack.switchboard)

    @property
    def posts(self) -> list[dict[str, Any]]:
        path: Path = self._folder / "all.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line]  # Alertmanager ends its lines, too

    def firing(self, alert: str) -> list[dict[str, Any]]:
        """The notifications in which that alert fires."""
        named = {"alertname": alert}
        return [
            post for post in self.posts if post["status"] == "firing" and named.items() <= post["groupLabels"].items()
        ]

    def close(self) -> None:
        self._server.kill()


@contextmanager
def prometheus_of(stack: Native) -> Iterator[Prometheus]:
    """The stack's Prometheus, by a port of loopback."""
    publisher = Publisher(stack.switchboard, stack.addresses["prometheus"]["back"].partition("/")[0], 9090)
    try:
        yield Prometheus(f"http://127.0.0.1:{publisher.port}")
    finally:
        publisher.close()
