"""What is not stored is answered with a redirect to whom steering would name next. Pure.

307, so that the method stays, and never to be remembered: the box may have the asset tomorrow.
Every box on the way writes its name into the query (`not=`): steering does not send a client back,
and a box that finds its own name there says 404. So no chain of redirects has a loop.
"""

from __future__ import annotations

from oca.account import DemandKey
from oca.http.respond import COMMON, Plan, refuse, start_of
from oca.service import Reply, Request

ARGUMENT = b"not="


class Redirect:
    """Sends players on to one base URL, with their path, token and query as they were."""

    def __init__(self, base: str, name: str) -> None:
        """`base` like `http://origin.example:8080` or steering's `http://…/v1/redirect`; `name` is
        this appliance's id."""
        self._base = base.rstrip("/").encode()
        self._not_us = ARGUMENT + name.encode()

    def answer(self, request: Request, path: bytes, key: DemandKey | None) -> Reply:
        """307 to the same target there; 404 for who was here before."""
        line = request.line
        arguments = line.query.split(b"&") if line.query else []
        if self._not_us in arguments:
            return Reply(refuse(404, date=request.date, line=line, close=request.close))
        query = b"&".join([*arguments, self._not_us])
        ending = b"Connection: close\r\n\r\n" if request.close else b"\r\n"
        head = b"%b%bCache-Control: no-store\r\nLocation: %b%b?%b\r\nContent-Length: 0\r\n%b" % (
            start_of(307, request.date),
            COMMON,
            self._base,
            line.path,
            query,
            ending,
        )
        return Reply(Plan(307, head, (), 0, request.close))

    def count_in(self, metrics: memoryview) -> None:
        """Redirects are responses like others."""

    def forget(self) -> None:
        """Nothing is remembered."""
