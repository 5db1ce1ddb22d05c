"""What a service tells systemd (sd_notify(3)), over a datagram socket; nobody is told elsewhere."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping

from wire.log import get

WATCH_SHARE = 3  # signs of life per watchdog period, so that one may be late
_log = get("notify")


def message(fields: Mapping[str, str | int]) -> bytes:
    """The datagram of sd_notify(3): `NAME=value` lines. A value is one line."""
    return "\n".join(f"{k}={' '.join(str(v).splitlines())}" for k, v in fields.items()).encode()


class Notifier:
    """Speaks to the service manager at `address` (path, or `@name` in the abstract namespace)."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """Without `address` nothing is sent; `watchdog_s` is how long silence is tolerated."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else 0.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """As systemd set NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID for process `pid`."""
        period = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", "") in ("", str(pid))
        watchdog_s = int(period) / 1e6 if mine and period.isdigit() else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self, status: str) -> None:
        """Serving; also the end of a reload."""
        self._tell({"READY": 1, "STATUS": status})

    def reloading(self, status: str) -> None:
        """A reload begins; `ready` ends it, whatever came of it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell({"RELOADING": 1, "MONOTONIC_USEC": now_us, "STATUS": status})

    def stopping(self, status: str, within_s: float) -> None:
        """Draining; the manager should not lose patience for `within_s`."""
        extend_us = int(within_s * 1e6)
        self._tell({"STOPPING": 1, "STATUS": status, "EXTEND_TIMEOUT_USEC": extend_us})

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell({"WATCHDOG": 1})

    async def feed(self, is_well: Callable[[], bool] = lambda: True) -> None:
        """Feed the watchdog for as long as `is_well()`; returns at once where there is none."""
        while self.watchdog_s:
            if is_well():
                self.alive()
            await asyncio.sleep(self.watchdog_s / WATCH_SHARE)

    def _tell(self, fields: Mapping[str, str | int]) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(message(fields), self._address)
        except OSError as exc:
            _log.warning("systemd cannot be told", why=str(exc), what=next(iter(fields)))


def notifier() -> Notifier:
    """The one of this process."""
    return Notifier.from_environment(os.environ, os.getpid())
