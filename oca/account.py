"""Which bytes of a connection were whose, so that what the peer never acknowledged is taken back.

Pure. A connection's stream is heads and bodies in turn. When it dies, the kernel tells how many of
its last bytes were not acknowledged; they are taken back from the bodies they belong to, exactly.
"""

from __future__ import annotations

DemandKey = tuple[int, str]
"""Whose bytes: (asset id, home site of the client)."""

Receipt = tuple[DemandKey | None, int, int]
"""An answer as it went to the kernel: whose it is, bytes of its head, bytes of its body."""

ANSWERS_MAX = 16
"""Finished answers remembered before the kernel is asked which of them are acknowledged."""


class Account:
    """The unacknowledged tail of one stream. `answers` may be appended to directly; whoever does
    calls `forget` when there are ANSWERS_MAX of them."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        self.answers: list[Receipt] = []

    def forget(self, unacked: int) -> None:
        """Only the last `unacked` bytes are of interest from now on."""
        kept: list[Receipt] = []
        for answer in reversed(self.answers):
            if unacked <= 0:
                break
            kept.append(answer)
            unacked -= answer[1] + answer[2]
        self.answers = kept[::-1]

    def take_back(self, unacked: int) -> list[tuple[DemandKey | None, int]]:
        """The body bytes among the last `unacked` of the stream, by key."""
        lost = []
        for key, head, body in reversed(self.answers):
            if unacked <= 0:
                break
            if body:
                lost.append((key, min(body, unacked)))
            unacked -= body + head
        self.answers.clear()
        return lost
