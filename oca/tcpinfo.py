"""What the kernel counts of one connection, and how fast it may send; linux/tcp.h, socket(7).

An adapter: system calls of ~1 µs, made only for who speaks CMCD, or is paced.
"""

from __future__ import annotations

import socket
import struct

from oca.throughput import Reading

_BYTES = 192  # up to tcpi_sndbuf_limited; older kernels give less, and then nothing is measured
_APP_LIMITED = struct.Struct("7xB")  # bit 0: tcpi_delivery_rate_app_limited
_RTT_US = struct.Struct("68xI")
_ACKED_BYTES = struct.Struct("120xQ")
_RATES = struct.Struct("160xQQQQ")  # delivery_rate (bytes/s), busy, rwnd and sndbuf limited (µs)

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h: bytes per second; TCP paces itself without fq
_UNPACED_RATE = 0xFFFFFFFF


def set_pace(sock: socket.socket, rate_bps: int) -> None:
    """From now on no faster than `rate_bps` bits per second; 0: as fast as it can."""
    rate = struct.pack("I", min(rate_bps // 8, _UNPACED_RATE - 1) or _UNPACED_RATE)
    sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, rate)


def read(sock: socket.socket) -> Reading | None:
    """The connection's counters now; None where the kernel does not say."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES)
    except OSError:
        return None
    if len(raw) < _BYTES:
        return None
    rate, busy_us, window_us, buffer_us = _RATES.unpack_from(raw)
    return Reading(
        acked_bytes=_ACKED_BYTES.unpack_from(raw)[0],
        busy_us=busy_us,
        held_us=window_us + buffer_us,
        rtt_us=_RTT_US.unpack_from(raw)[0],
        rate_bps=8 * rate,
        app_limited=bool(_APP_LIMITED.unpack_from(raw)[0] & 1),
    )
