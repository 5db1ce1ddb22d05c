"""Batches of counted bytes as an appliance posts them, and what the admin listener tells."""

from __future__ import annotations

import time

import aiohttp

from fill.history import History
from tests.fill.ground import Ground
from wire.codec import decode, encode
from wire.events import Delivered, EventAck, EventBatch
from wire.problem import Problem

MINUTE = int(time.time()) // 60 - 90
DAY = MINUTE // 1440


def batch(seq: int, *rows: tuple[int, str, int], who: str = "a1", boot: int = 1) -> bytes:
    """An encoded batch of (asset, home, bytes) rows."""
    delivered = (Delivered(asset=a, home=h, minute=MINUTE, bytes=b) for a, h, b in rows)
    site = {"a": "isp-a", "b": "isp-b", "x": "exchange", "o": "origin"}[who[0]]
    return encode(EventBatch(appliance=who, site=site, boot=boot, seq=seq, rows=tuple(delivered)))


async def post(ground: Ground, body: bytes, who: str = "a1") -> EventAck:
    """Post a batch and return its acknowledgement."""
    status, raw, _ = await ground.call("POST", "/v1/events", who, body)
    assert status == 200, raw
    return decode(EventAck, raw, "ack")


async def admin(ground: Ground, path: str) -> tuple[int, bytes]:
    """One request to the admin listener."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{ground.admin}{path}") as reply,
    ):
        return reply.status, await reply.read()


def problem(raw: bytes) -> Problem:
    """The problem document of a refusal."""
    return decode(Problem, raw, "problem")


def total(ground: Ground) -> int:
    """All bytes in the history."""
    history = History(ground.folder / "state/history.sqlite")
    try:
        return sum(row[3] for row in history.totals(0))
    finally:
        history.close()
