"""A real BIRD and a real exabgp with `oca routes`, from the samples in deploy/bgp."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.steering.replica import free_port

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "deploy" / "bgp"
BIRD = shutil.which("bird", path=os.environ.get("PATH", "") + ":/usr/sbin")
BIRDC = shutil.which("birdc", path=os.environ.get("PATH", "") + ":/usr/sbin")
MARKED = re.compile("# begin customers[46]\n.*?# end customers[46]\n", re.DOTALL)
ROUTER, BOX = "127.0.0.2", "127.0.0.3"


class Speakers:
    """The sample configurations with addresses and ports of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(ROUTER)
        self.routes = folder / "routes.json"
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def bird(self, prefixes: Sequence[str], *, restart_s: int = 60) -> None:
        """BIRD announces these: started, or told to read its configuration again."""
        text = (SAMPLES / "bird.conf").read_text()
        four = "".join(f"route {one} blackhole;\n" for one in prefixes if ":" not in one)
        six = "".join(f"route {one} blackhole;\n" for one in prefixes if ":" in one)
        for routes in (four, six):  # the first pair of marks is of IPv4, the second of IPv6
            text = MARKED.sub(routes, text, count=1)
        text = text.replace("192.0.2.10", BOX).replace("192.0.2.1", ROUTER)
        text = text.replace("port 179", f"port {self.port}")
        text = re.sub(r"graceful restart time \d+", f"graceful restart time {restart_s}", text)
        config = self.folder / "bird.conf"
        config.write_text(text)
        if "bird" in self.running:
            self.birdc("configure")
        else:
            self._start("bird", [str(BIRD), "-f", "-c", str(config), "-s", self._control])

    def birdc(self, *words: str) -> None:
        """An operator's command to BIRD."""
        done = subprocess.run(
            [str(BIRDC), "-s", self._control, *words], capture_output=True, text=True, timeout=20,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def exabgp(self) -> None:
        """exabgp, and `oca routes` as its process."""
        text = (SAMPLES / "exabgp.conf").read_text()
        text = text.replace("192.0.2.10", BOX).replace("192.0.2.1", ROUTER)
        text = text.replace("connect 179", f"connect {self.port}")
        python = f"{sys.executable} -m oca routes"
        text = text.replace("/usr/local/bin/oca routes", python)
        text = text.replace("/var/lib/oca/routes.json", str(self.routes))
        config = self.folder / "exabgp.conf"
        config.write_text(text)
        program = Path(sys.executable).parent / "exabgp"
        self._start("exabgp", [str(program), "server", str(config)], cwd=ROOT)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End one of them, and its processes when it is exabgp."""
        process = self.running.pop(name)
        process.send_signal(how)
        process.wait(20)

    def stop(self) -> None:
        """End all that runs."""
        for name in list(self.running):
            self.kill(name, signal.SIGTERM if name == "exabgp" else signal.SIGKILL)

    def logs(self) -> str:
        """What they said, for failures."""
        return "\n".join(file.read_text()[-3000:] for file in self.folder.glob("*.log"))

    @property
    def _control(self) -> str:
        return str(self.folder / "bird.ctl")

    def _start(self, name: str, argv: Sequence[str], cwd: Path | None = None) -> None:
        env = os.environ | {
            "exabgp_daemon_user": _user(), "exabgp_api_cli": "false", "exabgp_log_short": "false",
        }  # fmt: skip
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd, env=env
            )


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def addresses_free() -> bool:
    """Whether 127.0.0.0/8 is ours, as on Linux."""
    with socket.socket() as probe:
        try:
            probe.bind((BOX, 0))
        except OSError:
            return False
    return True
