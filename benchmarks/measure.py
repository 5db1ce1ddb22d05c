"""What the machine says about itself: time of each core, memory of processes, kernel settings."""

from __future__ import annotations

import os
import platform
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SERVER_PORTS = range(21_000, 32_000)
NOTSENT_LOWAT = Path("/proc/sys/net/ipv4/tcp_notsent_lowat")


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Seconds since boot of one core; `stolen_s` is what the hypervisor gave to others."""

    busy_s: float
    idle_s: float
    stolen_s: float

    def __sub__(self, earlier: CoreTime) -> CoreTime:
        return CoreTime(
            self.busy_s - earlier.busy_s,
            self.idle_s - earlier.idle_s,
            self.stolen_s - earlier.stolen_s,
        )

    @property
    def idle_share(self) -> float:
        """Idle time ÷ all time, 0–1."""
        total = self.busy_s + self.idle_s + self.stolen_s
        return self.idle_s / total if total else 0.0


def parse_core_times(stat: str) -> dict[int, CoreTime]:
    """The `cpuN` lines of /proc/stat (proc(5)); waiting for a disk counts as idle."""
    times = {}
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, idle, wait, irq, soft, stolen = (
                int(field) / _TICKS_A_SECOND for field in fields[:8]
            )
            busy = user + nice + system + irq + soft
            times[int(name[3:])] = CoreTime(busy, idle + wait, stolen)
    return times


def core_times() -> dict[int, CoreTime]:
    """Every core's time since boot."""
    return parse_core_times(Path("/proc/stat").read_text())


class CoreWindow:
    """The cores' time between entering and leaving a `with` block, per core in `spent`."""

    def __init__(self) -> None:
        """Nothing is spent before the block ends."""
        self.spent: dict[int, CoreTime] = {}

    def __enter__(self) -> CoreWindow:
        """The clock starts."""
        self._before = core_times()
        return self

    def __exit__(self, *_exc: object) -> None:
        """The clock stops."""
        after = core_times()
        self.spent = {core: after[core] - before for core, before in self._before.items()}


def tree_of(pid: int) -> list[int]:
    """A process and all its living descendants, parents first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                # comm may hold blanks and brackets: fields count from the last bracket
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found = [pid] if Path(f"/proc/{pid}").exists() else []
    for known in found:
        found.extend(children.get(known, ()))
    return found


def own_memory_bytes(pids: list[int]) -> int:
    """Memory that only these processes are the reason for: the proportional set size (PSS) of
    anonymous and shared memory. Mapped files are left out: their share falls and rises as other
    processes map the same program, by megabytes."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * 1024
    return total


def memory_in_use_bytes() -> int:
    """What the whole machine uses beside the page cache: processes, sockets, kernel objects."""
    fields = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0]) * 1024
    return (
        fields["MemTotal"]
        - fields["MemFree"]
        - fields["Buffers"]
        - fields["Cached"]
        - fields["SReclaimable"]
    )


def send_queue_bytes(port: int) -> int:
    """Bytes in the send queues of all connections of the server on `port`, by ss(8)."""
    command = ["ss", "-Htn", "state", "established", f"( sport = :{port} )"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum(int(line.split()[1]) for line in text.splitlines() if line.strip())


@contextmanager
def notsent_lowat_guard() -> Iterator[str]:
    """Give the kernel's net.ipv4.tcp_notsent_lowat back at the end; yields what it was."""
    before = NOTSENT_LOWAT.read_text().strip()
    try:
        yield before
    finally:
        set_notsent_lowat(before)


def set_notsent_lowat(value: str) -> None:
    """Set the bound on unsent bytes for every socket that sets none itself (tcp(7)). The kernel
    reads it at each write, so it holds for open connections too. Raises OSError if not root."""
    if NOTSENT_LOWAT.read_text().strip() != value:
        NOTSENT_LOWAT.write_text(value)


def free_port() -> int:
    """A TCP port that nobody uses now, below those that the kernel gives to clients: there a
    connection could take it before the server does. Raises OSError if there is none."""
    for port in random.sample(SERVER_PORTS, len(SERVER_PORTS)):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("0.0.0.0", port))
            return port
    raise OSError("no free port for a server")


def quietness(seconds: float) -> dict[str, float]:
    """How idle each core is while the benchmark does nothing: the neighbours' noise."""
    with CoreWindow() as window:
        time.sleep(seconds)
    return {f"core{core}": round(spent.idle_share, 3) for core, spent in window.spent.items()}


def hardware() -> dict[str, str]:
    """The machine, as the results name it."""
    model = "unknown"
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
