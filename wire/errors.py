"""Errors say who is to blame, what was wrong (file, row, field) and what to do."""

from __future__ import annotations


class OcaError(Exception):
    """Base of every error this project raises on purpose; its text is for people."""

    status = 500


class PeerError(OcaError):
    """The other side (client, peer, operator's file) is to blame; `status` is the HTTP answer."""

    status = 400


class WireError(PeerError):
    """A message or file does not fit its type: `what` it is, `where` in it, `detail` in words."""

    def __init__(self, what: str, where: str, detail: str, *, hint: str = "") -> None:
        """`where` is a JSON path such as `$.sites[0].kind`, or a row such as `row 17, bytes`."""
        self.what, self.where, self.detail, self.hint = what, where, detail, hint
        text = f"{what}: {where}: {detail}" if where else f"{what}: {detail}"
        super().__init__(f"{text} ({hint})" if hint else text)


class AuthError(PeerError):
    """The caller did not prove who it is, or may not do this. The reason is for the log."""

    status = 401


class ForbiddenError(PeerError):
    """The caller is known and may not do this."""

    status = 403


class NotFoundError(PeerError):
    """There is no such title, asset or appliance."""

    status = 404


class ConflictError(PeerError):
    """What was sent is older than, or belongs to another world (epoch) than, what is held."""

    status = 409

    def __init__(self, detail: str, *, boot: int = 0) -> None:
        """`boot`: the boot that is known of the sender, where its own is older."""
        self.boot = boot
        super().__init__(detail)


class UnavailableError(OcaError):
    """Nobody is to blame: this cannot be answered now; try again after `retry_after_s` seconds."""

    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        """`retry_after_s` becomes the Retry-After header."""
        self.retry_after_s = retry_after_s
        super().__init__(detail)
