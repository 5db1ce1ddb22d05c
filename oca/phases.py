"""The life of a connection as a table. Pure; the edge (oca.connection) obeys it.

    HANDSHAKE (TLS only) ──► IDLE, or what we say against it ──► FLUSH ──► CLOSED

    IDLE ──bytes──► HEAD ──complete──► BODY ──drained──► SENDING ──done──► IDLE
                      │                  │                  │ says close
                      └──── refused ─────┴──► SENDING ──────┴──► LINGER ──► FLUSH ──► CLOSED

    IDLE, HEAD, BODY ──the file is cold──► OPENING ──a thread opened it──► SENDING

LINGER: our side is shut, the peer may still be writing what we refuse to read; it is discarded, so
that the peer reads our answer and not a reset (RFC 9112 §9.6). FLUSH: the peer is done as well, the
kernel still holds bytes that were not acknowledged, and who was served what is not decided yet.
"""

from __future__ import annotations

from enum import Enum, auto


class Phase(Enum):
    """Where a connection stands."""

    HANDSHAKE = auto()
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    OPENING = auto()
    SENDING = auto()
    LINGER = auto()
    FLUSH = auto()
    CLOSED = auto()

    __hash__ = object.__hash__  # Enum's own is Python, and NEXT is asked twice an answer


NEXT: dict[Phase, frozenset[Phase]] = {
    Phase.HANDSHAKE: frozenset({Phase.IDLE, Phase.FLUSH, Phase.CLOSED}),
    Phase.IDLE: frozenset(
        {
            *(Phase.HANDSHAKE, Phase.HEAD, Phase.BODY, Phase.OPENING),
            *(Phase.SENDING, Phase.FLUSH, Phase.CLOSED),
        }
    ),
    Phase.HEAD: frozenset({Phase.IDLE, Phase.BODY, Phase.OPENING, Phase.SENDING, Phase.CLOSED}),
    Phase.BODY: frozenset({Phase.OPENING, Phase.SENDING, Phase.CLOSED}),
    Phase.OPENING: frozenset({Phase.SENDING, Phase.CLOSED}),
    Phase.SENDING: frozenset({Phase.IDLE, Phase.LINGER, Phase.FLUSH, Phase.CLOSED}),
    Phase.LINGER: frozenset({Phase.FLUSH, Phase.CLOSED}),
    Phase.FLUSH: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}
"""Whatever is not here is a fault of ours and raises."""
