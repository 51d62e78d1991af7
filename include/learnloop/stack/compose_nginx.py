"""nginx's configuration beside docker-compose.yaml: the two must mean the same, and nginx itself must take it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from learnloop.settings import load


def program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def problems(compose: dict[str, Any], root: Path) -> Iterator[str]:
    """Each as a sentence. nginx is asked where it is installed."""
    folder = root / "deploy" / "nginx"
    text = {path.name: path.read_text() for path in sorted(folder.glob("*.conf"))}
    nginx = compose["services"]["nginx"]
    mounted = {Path(volume.split(":")[0]).name for volume in nginx["volumes"]}
    yield from (f"nginx: {name} is not mounted" for name in text if name not in mounted)
    known = {entry.partition("=")[0] for entry in nginx["extra_hosts"]}
    for host, port in re.findall(r"^\s*server ([\w.-]+):(\d+)", text["upstreams.conf"], re.M):
        service = compose["services"].get(host)
        if service is None:
            yield f"upstreams.conf: there is no service {host}"
            continue
        if host not in known:
            yield f"nginx: extra_hosts: {host} is missing, so nginx would not start while it is away"
        if not re.search(rf"\b{port}\b", f"{service.get('command')}{service.get('healthcheck')}"):
            yield f"upstreams.conf: {host} does not listen on {port}"
    listening = set(re.findall(r"^\s*listen (\d+)", text["public.conf"], re.M))
    for port in nginx["ports"]:
        if port.rpartition(":")[2] not in listening:
            yield f"nginx: ports: {port} leads to what is no public listener (public.conf)"
    yield from _limits(text["nginx.conf"])
    if (found := program()) and (told := _asked(found, text, known)):
        yield f"nginx does not take its configuration: {told}"


def _limits(text: str) -> Iterator[str]:
    size = re.search(r"client_max_body_size (\d+)m;", text)
    most = int(size.group(1)) * 2**20 if size else 2**20
    defaults = load({"LEARNLOOP_HOME": "/nowhere"})
    for name in ("body_bytes", "upload_bytes", "serving_body_bytes"):
        if most < getattr(defaults, name):
            yield f"nginx.conf: client_max_body_size is less than LEARNLOOP_{name.upper()} ({getattr(defaults, name)})"


def _asked(nginx: str, text: dict[str, str], hosts: set[str]) -> str:
    """What `nginx -t` says, or nothing. It reads a copy: names are addresses in it, and the certificate is made here."""
    with tempfile.TemporaryDirectory(prefix="learnloop-nginx-") as made:
        folder = Path(made)
        (folder / "mime.types").write_text("types { text/html html; }\n")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-subj", "/CN=x", "-keyout", f"{folder}/tls_key.pem", "-out", f"{folder}/tls_certificate.pem"),
            ],
            check=True,
            capture_output=True,
        )
        for name, content in text.items():
            # The container's places, all of them here.
            moved = re.sub(r"/(?:etc/nginx|run/secrets|tmp)/", f"{folder}/", content)
            for host in hosts:
                moved = re.sub(rf"\bserver {host}:", "server 127.0.0.1:", moved)
            (folder / name).write_text(moved)
        answer = subprocess.run(
            [nginx, "-t", "-q", "-c", str(folder / "nginx.conf"), "-p", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if answer.returncode == 0 else answer.stderr.replace(f"{folder}/", "").strip()
