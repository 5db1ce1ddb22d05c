"""A request that cannot be understood or is refused before a file is looked for. Pure."""

from __future__ import annotations

from wire.errors import PeerError


class RequestError(PeerError):
    """The peer's request gets `status` and the connection is closed: its framing is in doubt."""

    def __init__(self, status: int, detail: str) -> None:
        """`status` is the HTTP answer; `detail` is for the log, never for the body."""
        self.status = status
        super().__init__(detail)
