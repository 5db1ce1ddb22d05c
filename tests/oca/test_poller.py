"""The loop of a worker: who asks is heard between the pieces of large answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from oca.poller import BULK_TURN_S, READ, ROOM, WRITE, Poller


@pytest.fixture
def poller() -> Iterator[Poller]:
    """One that is closed afterwards."""
    poller = Poller()
    yield poller
    poller.close()


def test_a_request_waits_for_one_piece_and_not_for_all(poller: Poller) -> None:
    """Three answers are under way; a request that comes amid the first one's piece is next."""
    order: list[str] = []
    asking, asked = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(3)]

    def piece(name: str) -> None:
        order.append(name)
        time.sleep(BULK_TURN_S * 2)
        if len(order) == 1:
            asking.send(b"?")

    poller.watch(asked.fileno(), lambda _: order.append(asked.recv(1).decode()), READ)
    for number, (mine, _) in enumerate(pairs):
        poller.watch(mine.fileno(), lambda _, name=str(number): piece(name), WRITE)  # type: ignore[misc]
    for _ in range(4):
        poller.select(0)
    assert order[1] == "?"
    assert sorted(order[:1] + order[2:4]) == ["0", "1", "2"], "and each has its turn"
    for sock in (asking, asked, *(end for pair in pairs for end in pair)):
        sock.close()


def test_an_answer_that_ended_has_no_turn_any_more(poller: Poller) -> None:
    """Unwatched between its being ready and its turn: it is not called, nor who gets its number."""
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def piece(mine: int, other: int) -> None:
        called.append(mine)
        time.sleep(BULK_TURN_S * 2)
        poller.unwatch(other)

    one, two = (mine.fileno() for mine, _ in pairs)
    poller.watch(one, lambda _: piece(one, two), WRITE)
    poller.watch(two, lambda _: piece(two, one), WRITE)
    for _ in range(4):
        poller.select(0)
    assert len(set(called)) == 1
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_room_is_told_once_until_it_is_asked_for_again(poller: Poller) -> None:
    """A slow reader with room does not stand in the way of who asks, turn after turn."""
    mine, other = socket.socketpair()
    called: list[int] = []
    poller.watch(mine.fileno(), called.append, READ | ROOM)
    for _ in range(3):
        poller.select(0)
    assert called == [WRITE]
    poller.change(mine.fileno(), READ | ROOM)
    poller.select(0)
    poller.again(mine.fileno())
    poller.select(0)
    assert called == [WRITE] * 3
    mine.close()
    other.close()


def test_what_has_begun_gets_as_much_time_as_what_is_new(poller: Poller) -> None:
    """New requests come without end and take long: pieces go out in every turn all the same, for
    as long as the new ones took."""
    asking, asked = socket.socketpair()
    mine, other = socket.socketpair()
    pieces: list[int] = []

    def piece(_: int) -> None:
        pieces.append(1)
        time.sleep(BULK_TURN_S)
        poller.again(mine.fileno())

    poller.watch(asked.fileno(), lambda _: time.sleep(BULK_TURN_S * 50))
    poller.watch(mine.fileno(), piece, READ | ROOM)
    asking.send(b"?")
    for _ in range(4):
        poller.select(0)
    assert len(pieces) > 4
    for sock in (asking, asked, mine, other):
        sock.close()
