"""Every API error is a problem document (RFC 9457, application/problem+json)."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from wire.errors import ConflictError, OcaError, UnavailableError, WireError

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One refusal: HTTP `status`, `title` of its class, `detail` of this one, `field` to blame;
    `boot` is what an appliance has to exceed whose own boot number is too old."""

    status: int
    title: str
    detail: str = ""
    type: str = "about:blank"
    field: str = ""
    hint: str = ""
    retry_after_s: int = 0
    boot: int = 0


def problem_of(exc: OcaError) -> Problem:
    """The problem document for an error of ours; texts of 5xx faults inside us stay inside."""
    status = exc.status
    title = HTTPStatus(status).phrase
    if isinstance(exc, WireError):
        where = f"{exc.what}: {exc.detail}"
        return Problem(status=status, title=title, detail=where, field=exc.where, hint=exc.hint)
    if isinstance(exc, UnavailableError):
        return Problem(status=status, title=title, detail=str(exc), retry_after_s=exc.retry_after_s)
    boot = exc.boot if isinstance(exc, ConflictError) else 0
    detail = "" if status == 500 else str(exc)
    return Problem(status=status, title=title, detail=detail, boot=boot)
