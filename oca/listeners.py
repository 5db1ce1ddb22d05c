"""The listening sockets: one with SO_REUSEPORT per worker, or those that systemd passes in."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from wire.errors import OcaError

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
LISTEN_FDS_START = 3  # sd_listen_fds(3)


class ListenError(OcaError):
    """The address cannot be listened on; the text says why."""


def passed_sockets(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """What systemd opened for process `pid` (sd_listen_fds(3)). Raises ListenError."""
    count = environ.get("LISTEN_FDS", "")
    if not count.isdigit() or environ.get("LISTEN_PID") != str(pid):
        return []
    found = [socket.socket(fileno=LISTEN_FDS_START + i) for i in range(int(count))]
    for sock in found:
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            raise ListenError("systemd passed a socket that is not TCP: see ListenStream=")
        sock.set_inheritable(False)
    return found


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """At least one socket, `count` if they are ours to open. Raises ListenError."""
    passed = passed_sockets(os.environ, os.getpid())
    if passed:
        return passed
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        address_text = str(address[0])
        # a first one alone, so that another server on this port is an error and not a rival
        with _bound(family, address_text, port, shared=False) as probe:
            port = probe.getsockname()[1]
        found = [_bound(family, address_text, port, shared=True) for _ in range(count)]
        for listener in found:
            listener.listen(BACKLOG)
    except OSError as exc:
        raise ListenError(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
    return found


def _bound(family: int, address: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock
