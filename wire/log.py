"""Logs are JSON lines on stderr, for journald and whoever reads it. Never secrets, never tokens."""

from __future__ import annotations

import ipaddress
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog

LINES_PER_S = 20
"""Of one kind that strangers can cause: a flood of bad requests must not become one of lines."""


def configure(service: str, level: str = "info") -> None:
    """Set up logging of this process; every line carries `service`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of one module or part."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


def client_prefix(address: str | None) -> str:
    """A client's /24 (v4) or /48 (v6): all that a log may say of a person; "?" for no address."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "?"
    found = getattr(found, "ipv4_mapped", None) or found
    return str(ipaddress.ip_network(f"{found}/{24 if found.version == 4 else 48}", strict=False))


class Bounded:
    """Lines of one kind that strangers can cause: so many a second, then a count of the rest."""

    def __init__(
        self, name: str, per_s: int = LINES_PER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`name` as of `get`; `clock` in seconds."""
        self._log, self._per_s, self._clock = get(name), per_s, clock
        self._second = self._told = self.left_out = 0

    def info(self, event: str, **fields: Any) -> bool:
        """Whether there was room for the line."""
        room = self._has_room()
        if room:
            self._log.info(event, **fields)
        return room

    def warning(self, event: str, **fields: Any) -> bool:
        """As `info`."""
        room = self._has_room()
        if room:
            self._log.warning(event, **fields)
        return room

    def error(self, event: str, **fields: Any) -> bool:
        """As `info`."""
        room = self._has_room()
        if room:
            self._log.error(event, **fields)
        return room

    def exception(self, event: str, **fields: Any) -> bool:
        """As `info`, with the exception that is being handled."""
        room = self._has_room()
        if room:
            self._log.exception(event, **fields)
        return room

    def flush(self) -> None:
        """Say how many lines were left out, if any."""
        if self.left_out:
            self._log.warning("lines left out", count=self.left_out, most_per_s=self._per_s)
            self.left_out = 0

    def _has_room(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self.flush()
            self._second, self._told = second, 0
        self._told += 1
        if self._told > self._per_s:
            self.left_out += 1
            return False
        return True
