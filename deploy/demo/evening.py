"""An evening's viewers: each asks steering, fetches a few files of one asset, checks every byte."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deploy.demo.demand import Session
from deploy.demo.httpclient import Client, FetchError
from deploy.demo.truth import Truth
from wire.codec import decode
from wire.errors import WireError
from wire.steer import SteerAnswer

VIEWERS_AT_ONCE = 12


@dataclass(slots=True)
class Evening:
    """What the viewers saw: bytes by serving host, failed attempts, wrong bytes, unserved files."""

    delivered: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unserved: list[str] = field(default_factory=list)


async def spend_evening(
    sessions: Sequence[Session],
    steering_base: str,
    truth: Truth,
    done: Callable[[int], None] = lambda size_bytes: None,
) -> Evening:
    """Run all sessions, VIEWERS_AT_ONCE at a time; `done(bytes)` is called after each."""
    evening = Evening()
    waiting = iter(sessions)

    async def viewer() -> None:
        for session in waiting:
            await _visit(session, steering_base, truth, evening)
            done(session.size_bytes)

    async with asyncio.TaskGroup() as group:
        for _ in range(VIEWERS_AT_ONCE):
            group.create_task(viewer())
    return evening


async def _visit(session: Session, steering_base: str, truth: Truth, evening: Evening) -> None:
    client = Client(session.client, patience_s=3.0)
    steering = Client(session.client, patience_s=3.0)
    try:
        answer = await steering.get(f"{steering_base}/v1/steer?asset={session.asset}")
        if answer.status != 200:
            evening.unserved.append(f"asset {session.asset}: steering said {answer.status}")
            return
        steer = decode(SteerAnswer, answer.body, "steering's answer")
        urls = [
            one.urls[place.pathway]
            for one in steer.assets
            for place in steer.places
            if one.asset == session.asset and place.pathway in one.urls
        ]
        for name in session.files:
            await _fetch(name, urls, client, truth, evening)
    except (FetchError, WireError) as exc:
        evening.unserved.append(f"asset {session.asset}: {exc}")
    finally:
        steering.close()
        client.close()
        evening.delivered.update(client.delivered)
        evening.sessions += 1


async def _fetch(
    name: str, urls: Sequence[str], client: Client, truth: Truth, evening: Evening
) -> None:
    """One file from the best place that gives it whole and right."""
    for folder in urls:
        url = folder + name
        try:
            answer = await client.get(url)
        except FetchError as exc:
            evening.failed[exc.host] += 1
            continue
        if answer.status != 200:
            evening.failed[f"{folder.split('/')[2]} status {answer.status}"] += 1
            continue
        wrong = truth.wrong(url, answer.body)
        if wrong is None:
            return
        evening.wrong.append(wrong)
    evening.unserved.append(f"{name}: none of {len(urls)} places gave it")
