"""Processes in namespaces of their own, as containers are: network, mounts, processes, host name. Needs root.

Each sees this machine's own root folder (through an overlay, made read-only as the Compose file has it), and over it what is
mounted for it. What is started here is killed with `Container.kill` or by the end of this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from waits import eventually

USER = 50000
NAMESPACES = ("unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child")
NOBODY = (
    *("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"),
    *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
)
# The first process hands SIGTERM on and buries what others leave: what `init: true` does.
INIT = """
trap 'kill -TERM $child' TERM
"$@" & child=$!
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
exit $code
"""
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Switchboard:
    """A network namespace with bridges in it, to which containers are wired."""

    def __init__(self, networks: Mapping[str, str]) -> None:
        """``networks``: name to the bridge's address with its prefix length, such as ``172.30.71.1/24``."""
        # It ends with this process, however that ends: its input does.
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        _in_new_network(self._holder.pid)
        self._wires = 0
        self.ip("link set lo up")
        for name, address in networks.items():
            self.ip(f"link add {name} type bridge", f"addr add {address} dev {name}", f"link set {name} up")

    @property
    def network(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/ns/net")

    def ip(self, *commands: str) -> None:
        _ip(str(self.network), commands)

    def wire(self, pid: int, addresses: Mapping[str, str]) -> None:
        """Give the process's network an interface for each network, with that address."""
        outside, inside = [], ["link set lo up"]
        for name, address in addresses.items():
            self._wires += 1
            wire = f"w{self._wires}"
            outside += [f"link add {wire} type veth peer name {name} netns {pid}"]
            outside += [f"link set {wire} master {name}", f"link set {wire} up"]
            # By its address, as an engine gives it: who comes back is found at once, and not when others forget who it was.
            card = "02:42:" + ":".join(f"{int(part):02x}" for part in address.partition("/")[0].split("."))
            inside += [f"link set {name} address {card}", f"addr add {address} dev {name}", f"link set {name} up"]
        self.ip(*outside)
        _ip(f"/proc/{pid}/ns/net", inside)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@dataclass
class Container:
    """One process with its own namespaces. ``mounts``: place inside to (place outside, whether it may be written)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    mounts: Mapping[str, tuple[Path, bool]]
    tmpfs: Sequence[str]
    folder: Path
    addresses: Mapping[str, str]
    read_only: bool = True
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self, switchboard: Switchboard) -> None:
        """The *thread* that calls this has to go on as long as the container is to: the kernel counts its end.

        Raises what making namespaces and wires does; then nothing of it is left.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            os.chown(self.log, USER, USER)  # /dev/stdout is opened anew by who writes to it
            self.process = subprocess.Popen(
                # `setpriv`: it is killed when this process (this thread of it) ends, and with it all that is inside.
                ["setpriv", "--pdeathsig", "KILL", *NAMESPACES, "bash", "-e", "-c", self._script()],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            _in_new_network(self.process.pid)
            switchboard.wire(self.process.pid, self.addresses)
        except BaseException:
            self.kill()  # else it waits for its network for ever, and counts as running
            raise
        assert self.process.stdin is not None
        self.process.stdin.close()  # the script waits for that

    @property
    def running(self) -> bool:
        process = self.process  # which another thread may start anew meanwhile
        return process is not None and process.poll() is None

    def inside(self) -> psutil.Process:
        """The first process inside. `LookupError` where there is none: it has ended, or is only beginning."""
        process, children = self.process, []
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children()
        if not children:
            raise LookupError(f"nothing runs inside {self.name}")
        return children[0]

    def run(
        self, command: Sequence[str], text: str | None = None, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Another command inside, as the same user with the same environment."""
        inside = self.inside().pid
        enter = ["nsenter", "-t", str(inside), "--net", "--uts", "--ipc", "--mount", "--pid", "--root", "--"]
        return subprocess.run(
            [*enter, *self._as_user(command)], input=text, capture_output=True, text=True, timeout=seconds
        )

    def stop(self, seconds: float = 30) -> None:
        """SIGTERM to what runs inside, as an engine does, then SIGKILL."""
        process = self.process
        if process is not None and process.poll() is None:
            with contextlib.suppress(LookupError, psutil.NoSuchProcess):
                self.inside().send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all of it at once: the first process of a process namespace takes all others with it.

        It returns when they are gone: the one that was started here goes first.
        """
        process = self.process  # which another thread may start anew meanwhile
        if process is not None:
            inside = []
            with contextlib.suppress(psutil.NoSuchProcess):
                inside = psutil.Process(process.pid).children()
            process.kill()
            process.wait()
            _, left = psutil.wait_procs(inside, timeout=30)
            assert not left, f"{self.name} outlived SIGKILL: {left}"

    def _as_user(self, command: Sequence[str]) -> list[str]:
        named = [f"{name}={value}" for name, value in {**self.environment, "HOSTNAME": self.name}.items()]
        return [*NOBODY, "env", "-i", "--chdir=/", *named, *command]

    def _script(self) -> str:
        root = self.folder / "root"
        lines = [
            "cat >/dev/null",  # until the network is there
            f"hostname {self.name}",
            f"mkdir -p {root} {self.folder}/upper {self.folder}/work",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work {root}",
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
        ]
        for entry in self.tmpfs:
            place, _, options = entry.partition(":")
            inside = f"{root}{os.path.realpath(place)}"  # /var/run is a link, and would lead out
            lines += [f"mkdir -p {inside}", f"mount -t tmpfs -o nosuid,nodev,noexec,{options} tmpfs {inside}"]
        for place, (source, writable) in self.mounts.items():
            inside = f"{root}{os.path.realpath(place)}"
            if source.is_dir():
                lines.append(f"mkdir -p {inside}")
            else:
                lines.append(f"mkdir -p $(dirname {inside}); [ -e {inside} ] || touch {inside}")
            lines.append(f"mount --bind {shlex.quote(str(source))} {inside}")
            if not writable:
                lines.append(f"mount -o remount,bind,ro {inside}")
        if self.read_only:
            lines.append(f"mount -o remount,ro {root}")
        command = shlex.join(self._as_user(self.command))
        lines.append(f"cd {root}; exec chroot . bash -c {shlex.quote(INIT)} init {command} </dev/null")
        return "\n".join(lines)


class Publisher:
    """A port of 127.0.0.1 that leads into a switchboard's network, as an engine publishes one."""

    def __init__(self, switchboard: Switchboard, address: str, port: int) -> None:
        self._target = (address, port)
        self._network = switchboard.network
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # who waits for a caller is woken
        self._server.close()

    def _accept(self) -> None:
        # This thread and those it begins are in the other network; what they open there stays there.
        with self._network.open() as file:
            if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._connect, args=(caller,), daemon=True).start()

    def _connect(self, caller: socket.socket) -> None:
        """In a thread of its own, which is in the network of the one that began it: nobody waits for another's answer."""
        try:
            inner = socket.create_connection(self._target, timeout=5)
        except OSError:
            caller.close()
            return
        inner.settimeout(None)
        _pipe(caller, inner)


def _pipe(one: socket.socket, other: socket.socket) -> None:
    with one, other, selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                try:
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
                except OSError:
                    return


def _ip(network: str, commands: Sequence[str]) -> None:
    subprocess.run(
        ["nsenter", f"--net={network}", "ip", "-batch", "-"], input="\n".join(commands), text=True, check=True
    )


def _in_new_network(pid: int) -> None:
    own = _network(os.getpid())
    eventually(lambda: _network(pid) not in ("", own), seconds=10)


def _network(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def possible() -> str:
    """Why this cannot be done here, or an empty text."""
    if os.geteuid() != 0:
        return "only root can make namespaces, bridges and mounts"
    tried = subprocess.run([*NAMESPACES, "ip", "link", "add", "br0", "type", "bridge"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no namespaces or bridges here: {tried.stderr.strip()}"
