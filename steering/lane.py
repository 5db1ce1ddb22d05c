"""The fast lane: `GET /v1/steer` answered straight from the bytes of a connection.

aiohttp's request, response and middlewares cost as much as five decisions. So a protocol of our own
sits in front of it, reads only what it knows exactly, and answers that; at the first byte of
anything else the connection is given to aiohttp, which then has it for good. So there is one
strict parser to trust (aiohttp's), and here nothing but a comparison with what is usual.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol, cast

from steering.gate import Gate
from steering.limiter import Kind

IDLE_S_MAX = 75.0
BLOCKS_MAX = 4_096
BLOCK_BYTES_MAX = 2_048
"""Header blocks remembered, and their size: at most 8 MB. A player's is the same every time."""

_END = b"\r\n\r\n"
_LINE = re.compile(rb"GET /v1/steer\?(asset|title)=([A-Za-z0-9][A-Za-z0-9._-]{0,127}) HTTP/1\.1\Z")
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[\t\x20-\x7e]*\r\n)+\Z")
# Whatever says something about the connection, a body, the client or its purpose is aiohttp's.
_SPECIAL = re.compile(
    rb"^(?:content-length|transfer-encoding|connection|expect|upgrade|forwarded|sec-purpose|te"
    rb"|trailer|proxy-connection|keep-alive|http2-settings)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_HOST = re.compile(rb"^host:[ \t]*[A-Za-z0-9.:\[\]-]+[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_USUAL_CONNECTION = re.compile(rb"^connection:[ \t]*keep-alive[ \t]*\r\n", re.I | re.M)


class Answers(Protocol):
    """Who knows the answers."""

    def steer(self, peer: str, asset: int | None, title: str | None) -> bytes | None:
        """A whole response, or None when it is not one for the lane."""
        ...

    def busy(self) -> bytes:
        """The whole response for whom there is no room."""
        ...


def is_plain(block: bytes) -> bool:
    """Whether a header block (lines with their ends) says nothing that could change an answer:
    HTTP/1.1 with one host, a connection that is kept, no body."""
    if len(block) > BLOCK_BYTES_MAX or _FIELDS.match(block) is None:
        return False
    rest = _USUAL_CONNECTION.sub(b"", block, count=1)
    return _SPECIAL.search(rest) is None and len(_HOST.findall(block)) == 1


class Blocks:
    """Header blocks that were judged before."""

    def __init__(self) -> None:
        """Forgets everything when it is full."""
        self._known: dict[bytes, bool] = {}

    def is_plain(self, block: bytes) -> bool:
        """As the function, from memory."""
        known = self._known.get(block)
        if known is None:
            known = is_plain(block)
            if len(self._known) >= BLOCKS_MAX:
                self._known.clear()
            if len(block) <= BLOCK_BYTES_MAX:
                self._known[block] = known
        return known


class Lane(asyncio.Protocol):
    """One connection, until it asks something unusual."""

    def __init__(
        self, front: Front, gate: Gate, answers: Answers, slow: Callable[[], asyncio.Protocol]
    ) -> None:
        """`slow` makes the protocol that takes over."""
        self._front, self._gate, self._answers, self._slow = front, gate, answers, slow
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self.asked_s = front.clock()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no such class
        address = transport.get_extra_info("peername")
        self._peer = address[0] if address else ""
        self._front.lanes.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """It went."""
        self._front.lanes.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer every request in `data`, in order; give the connection away at the first that is
        not ours, or not whole."""
        transport = self._transport
        if transport is None:
            return
        self.asked_s = self._front.clock()
        while data:
            end = data.find(_END)
            reply = self._reply(data[: end + 2]) if end >= 0 else None
            if reply is None:
                self._hand_over(transport, data)
                return
            transport.write(reply)
            data = data[end + 4 :]

    def pause_writing(self) -> None:
        """Who does not read its answers may not ask more."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has read them."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection, after what is on its way."""
        if self._transport is not None:
            self._transport.close()

    def _reply(self, head: bytes) -> bytes | None:
        line_end = head.find(b"\r\n")
        line = _LINE.match(head[:line_end])
        if line is None or not self._front.blocks.is_plain(head[line_end + 2 :]):
            return None
        if not self._gate.admits(Kind.PLAY):
            return self._answers.busy()
        name, value = line[1], line[2].decode()
        if name == b"title":
            return self._answers.steer(self._peer, None, value)
        if not value.isdigit() or len(value) > 10:
            return None
        return self._answers.steer(self._peer, int(value), None)

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        self._front.lanes.discard(self)
        self._transport = None
        slow = self._slow()
        transport.set_protocol(slow)
        slow.connection_made(transport)
        slow.data_received(data)


class Front:
    """All lanes of one listener."""

    def __init__(self, gate: Gate, answers: Answers, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.lanes: set[Lane] = set()
        self.blocks = Blocks()
        self.clock = clock
        self._gate, self._answers = gate, answers

    def lane(self, slow: Callable[[], asyncio.Protocol]) -> Lane:
        """The protocol of a new connection."""
        return Lane(self, self._gate, self._answers, slow)

    async def sweep(self, every_s: float = 5.0) -> None:
        """Close connections that have asked nothing for long, until cancelled; then all."""
        try:
            while True:
                await asyncio.sleep(every_s)
                oldest_s = self.clock() - IDLE_S_MAX
                for lane in [lane for lane in self.lanes if lane.asked_s < oldest_s]:
                    lane.close()
        finally:
            for lane in list(self.lanes):
                lane.close()
