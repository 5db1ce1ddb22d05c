"""Which bytes of a connection were whose, so that what the peer never acknowledged is taken back.

Pure. A connection's stream is heads and bodies in turn. When it dies, the kernel tells how many of
its last bytes were not acknowledged; they are taken back from the bodies they belong to, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

DemandKey = tuple[int, str]
"""Whose bytes: (asset id, home site of the client)."""

ANSWERS_MAX = 8
"""Finished answers remembered before the kernel is asked which of them are acknowledged."""


class Account:
    """The unacknowledged tail of one stream: answers as [key, head bytes, body bytes]."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: list[tuple[DemandKey | None, int, int]] = []

    def close_answer(
        self, key: DemandKey | None, head: int, body: int, unacked: Callable[[], int]
    ) -> None:
        """An answer went to the kernel: `head` bytes, then `body` bytes of `key`'s demand.

        `unacked` is asked now and then; what is acknowledged is forgotten.
        """
        self._answers.append((key, head, body))
        if len(self._answers) >= ANSWERS_MAX:
            self._forget(unacked())

    def _forget(self, unacked: int) -> None:
        kept: list[tuple[DemandKey | None, int, int]] = []
        for answer in reversed(self._answers):
            if unacked <= 0:
                break
            kept.append(answer)
            unacked -= answer[1] + answer[2]
        self._answers = kept[::-1]

    def take_back(self, unacked: int) -> list[tuple[DemandKey | None, int]]:
        """The body bytes among the last `unacked` of the stream, by key."""
        lost = []
        for key, head, body in reversed(self._answers):
            if unacked <= 0:
                break
            if body:
                lost.append((key, min(body, unacked)))
            unacked -= body + head
        self._answers.clear()
        return lost
