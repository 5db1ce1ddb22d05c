"""What is not stored is answered with a redirect to whom steering would name next. Pure.

307, so that the method stays, and never to be remembered: the box may have the asset tomorrow.
"""

from __future__ import annotations

from oca.account import DemandKey
from oca.http.respond import COMMON, Plan, start_of
from oca.service import Reply, Request


class Redirect:
    """Sends players on to one base URL, with their path, token and query as they were."""

    def __init__(self, base: str) -> None:
        """`base` like `http://origin.example:8080`."""
        self._base = base.rstrip("/").encode()

    def answer(self, request: Request, path: bytes, key: DemandKey | None) -> Reply:
        """307 to the same target there."""
        line = request.line
        target = line.path if line.query is None else line.path + b"?" + line.query
        ending = b"Connection: close\r\n\r\n" if request.close else b"\r\n"
        head = b"%b%bCache-Control: no-store\r\nLocation: %b%b\r\nContent-Length: 0\r\n%b" % (
            start_of(307, request.date),
            COMMON,
            self._base,
            target,
            ending,
        )
        return Reply(Plan(307, head, (), 0, request.close))

    def count_in(self, metrics: memoryview) -> None:
        """Redirects are responses like others."""

    def forget(self) -> None:
        """Nothing is remembered."""
