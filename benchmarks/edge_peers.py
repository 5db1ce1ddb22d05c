"""The servers under test: how each is configured, started, frozen, thawed and ended.

Configurations are the files in `peers/`: the main file, then, after a line `@@ NAME`, further ones;
`@@ args` and `@@ env` hold command-line arguments and environment variables, one a line.
"""

from __future__ import annotations

import grp
import http.client
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.measure import free_port, tree_of

CONFIGS = Path(__file__).parent / "peers"
START_S_MAX = 30.0
STOP_S_MAX = 8.0


class PeerError(Exception):
    """A server is missing, does not start, or does not answer as it must."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server in one configuration. `style` is how its URLs are spelled (edge_tree.Paths)."""

    name: str
    program: str
    package: str
    main_file: str
    argv: Callable[[Path, int], list[str]]
    style: str = "plain"
    tuned: bool = True
    has_backend: bool = False
    scheme: str = "http"
    version: tuple[str, ...] = ("-v",)
    folder: str = ""

    @property
    def family(self) -> str:
        """The server, whatever its configuration."""
        return self.name.partition("-")[0]

    @property
    def path(self) -> str | None:
        """The program's file, or None when it is not installed."""
        beside = Path(sys.executable).with_name(self.program)
        if beside.exists():
            return str(beside)
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def version_text(self) -> str:
        """The first line that says its version."""
        if self.path is None:
            return "not installed"
        done = subprocess.run([self.path, *self.version], capture_output=True, text=True)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return lines[0] if lines else "unknown"


def _nginx(run: Path, _port: int) -> list[str]:
    return ["-p", str(run), "-c", str(run / "nginx.conf")]


def _lighttpd(run: Path, _port: int) -> list[str]:
    return ["-D", "-f", str(run / "lighttpd.conf")]


def _h2o(run: Path, _port: int) -> list[str]:
    return ["-c", str(run / "h2o.conf")]


def _caddy(run: Path, _port: int) -> list[str]:
    return ["run", "--config", str(run / "Caddyfile"), "--adapter", "caddyfile"]


def _varnish(run: Path, port: int) -> list[str]:
    where = ["-n", str(run / "n"), "-a", f"127.0.0.1:{port}", "-T", "none"]
    return ["-F", "-j", "none", *where, "-f", str(run / "default.vcl")]


def _traffic_server(run: Path, _port: int) -> list[str]:
    return [f"--run-root={run}/runroot.yaml"]


def _oca(run: Path, _port: int) -> list[str]:
    return ["serve", "--config", str(run / "oca.toml")]


def _nginx_peer(kind: str, style: str = "plain", scheme: str = "http") -> Peer:
    return Peer(
        f"nginx-{kind}",
        "nginx",
        "nginx-light",
        "nginx.conf",
        _nginx,
        style=style,
        tuned=kind != "shipped",
        scheme=scheme,
    )


def _both(
    family: str,
    program: str,
    main_file: str,
    argv: Callable[[Path, int], list[str]],
    version: str,
    has_backend: bool = False,
) -> list[Peer]:
    return [
        Peer(
            f"{family}-{kind}",
            program,
            family,
            main_file,
            argv,
            tuned=kind == "tuned",
            has_backend=has_backend,
            version=(version,),
        )
        for kind in ("shipped", "tuned")
    ]


OCA = Peer("oca", "oca", "oca-cdn", "oca.toml", _oca, style="token", version=("--version",))
PEERS: tuple[Peer, ...] = (
    _nginx_peer("shipped"),
    _nginx_peer("tuned"),
    _nginx_peer("push"),
    _nginx_peer("copy"),
    _nginx_peer("full", style="secure"),
    _nginx_peer("aio"),
    _nginx_peer("tls", scheme="https"),
    *_both("lighttpd", "lighttpd", "lighttpd.conf", _lighttpd, "-v"),
    *_both("h2o", "h2o", "h2o.conf", _h2o, "--version"),
    *_both("varnish", "varnishd", "default.vcl", _varnish, "-V", has_backend=True),
    *_both("caddy", "caddy", "Caddyfile", _caddy, "version"),
    *_both(
        "trafficserver",
        "traffic_server",
        "records.config",
        _traffic_server,
        "--version",
        has_backend=True,
    ),
)
OCA_TLS = replace(OCA, name="oca-tls", scheme="https")
"""Measured as soon as there is a `peers/oca-tls.conf`."""

BY_NAME: Mapping[str, Peer] = {peer.name: peer for peer in (OCA, OCA_TLS, *PEERS)}


def sections(text: str) -> dict[str, str]:
    """A configuration's files: the first under the name "", the others after their `@@ NAME`."""
    found, name = {"": ""}, ""
    for line in text.splitlines(keepends=True):
        if line.startswith("@@ "):
            name = line[3:].strip()
            found[name] = ""
        else:
            found[name] += line
    return found


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Replace every `{{name}}`; raises PeerError when one is left."""
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    if "{{" in text:
        raise PeerError(f"nothing to put for {text[text.index('{{') :][:20]!r}")
    return text


@dataclass
class Server:
    """A running peer; `port` is where it listens. Frozen ones take no time from the others."""

    peer: Peer
    port: int
    run: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def base_url(self) -> str:
        """Scheme, host and port."""
        return f"{self.peer.scheme}://127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """All its processes."""
        return tree_of(self.process.pid)

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it: SIGTERM, and what is left after STOP_S_MAX is killed, process by process."""
        pids = self.pids()
        self.thaw()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S_MAX)
        for pid in {*pids, *self.pids()}:
            if self.process.poll() is None or Path(f"/proc/{pid}").exists():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def why_dead(self) -> str:
        """The last lines of what it said."""
        text = (self.run / "output.log").read_text(errors="replace")
        return " / ".join(text.strip().splitlines()[-3:]) or "it said nothing"


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts peers: where their files go, what they serve, which key signs oca's tokens."""

    work: Path
    root: Path
    key: str

    def start(self, peer: Peer, cores: set[int], workers: int, backend: int = 0) -> Server:
        """Start a peer on `cores`, wait until it answers; raises PeerError with its own words."""
        program = peer.path
        if program is None:
            raise PeerError(f"not installed: apt-get install {peer.package}, or --install")
        run, port = self.work / "run" / (peer.folder or peer.name), free_port()
        shutil.rmtree(run, ignore_errors=True)
        for folder in (run, run / "cache"):
            folder.mkdir(parents=True)
        parts = self._write(peer, run, port, workers, backend)
        command = [program, *peer.argv(run, port), *parts.get("args", "").split()]
        environment = dict(os.environ, HOME=str(run), XDG_CONFIG_HOME=str(run), LC_ALL="C.UTF-8")
        environment.update(_assignments(parts.get("env", "")))
        pinned = ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
        with (run / "output.log").open("wb") as output:
            process = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                process_group=0,  # lighttpd with workers ends its whole group, ours with it
            )
        server = Server(peer, port, run, process)
        _await_answer(server)
        return server

    def _write(
        self, peer: Peer, run: Path, port: int, workers: int, backend: int
    ) -> dict[str, str]:
        values = {
            "root": str(self.root),
            "run": str(run),
            "work": str(self.work),
            "port": str(port),
            "admin": str(free_port()),
            "backend": str(backend),
            "workers": str(workers),
            "processes": str(workers if workers > 1 else 0),
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "group": grp.getgrgid(os.getgid()).gr_name,
            "key": self.key,
        }
        text = fill_in((CONFIGS / f"{peer.name}.conf").read_text(), values)
        parts = sections(text)
        for name, content in parts.items():
            if name not in ("args", "env"):
                (run / (name or peer.main_file)).write_text(content)
        return parts


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split())
    return {name: value for name, _, value in pairs}


def _await_answer(server: Server) -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise PeerError(f"it ended at once: {server.why_dead()}")
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
            if server.peer.scheme == "https":
                connection.connect()
            else:
                connection.request("GET", "/are-you-there")
                connection.getresponse().read()
            connection.close()
            return
        time.sleep(0.1)
    server.stop()
    raise PeerError(f"no answer within {START_S_MAX:.0f} s: {server.why_dead()}")


def install(missing: list[Peer]) -> None:
    """Install the packages of these peers and the load generators from Debian; raises PeerError."""
    packages = sorted({peer.package for peer in missing if peer is not OCA})
    command = ["apt-get", "install", "-qy", "--no-install-recommends"]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for step in (["apt-get", "update", "-q"], [*command, "wrk", "nghttp2-client", *packages]):
        if subprocess.run(step, env=environment).returncode:
            raise PeerError(f"this failed: {' '.join(step)}")
