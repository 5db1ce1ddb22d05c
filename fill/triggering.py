"""`/v1/triggers` of `fill serve`: commands taken, carried out one after the other, and told of.

On the admin listener, as whoever may trigger may empty the fleet. Status resources are kept on
disk; after a restart, what was pending is carried out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

import msgspec
import numpy as np
from aiohttp import web

from fill.files import Files
from fill.history import History
from fill.inquiry import add_purge
from fill.inventory import ids_of
from fill.ledger import Ledger
from fill.outofcycle import preposition
from fill.rows import Action
from fill.triggerbook import read_book, write_book
from fill.triggers import (
    COLLECTION_TYPE,
    STATUS_TYPE,
    Fault,
    Status,
    Trigger,
    named_assets,
    read_command,
)
from fill.writer import HistoryWriter
from wire.codec import encode
from wire.errors import ConflictError, NotFoundError, OcaError, UnavailableError
from wire.log import get

BUSY_S = 5.0  # a night's planning holds the state folder for a minute or two
KEPT = 1_000  # finished triggers beyond these are forgotten, oldest first
STALE_S = 86_400
_ENDED = ("complete", "failed", "cancelled")
_log = get("triggers")


class Triggers:
    """The resources, and the one task that works on them."""

    def __init__(self, files: Files, writer: HistoryWriter) -> None:
        """Reads what is on disk; raises WireError when that cannot be read."""
        self._files, self._writer = files, writer
        self._book: dict[int, Status] = {each.number: each for each in read_book(files.state)}
        self._next = max(self._book, default=0) + 1
        self._wake = asyncio.Event()
        self._wake.set()

    def routes(self) -> list[web.RouteDef]:
        """What the admin listener offers."""
        return [
            web.post("/v1/triggers", self._post),
            web.get("/v1/triggers", self._list),
            web.get("/v1/triggers/{number}", self._get),
            web.delete("/v1/triggers/{number}", self._delete),
        ]

    async def work(self) -> None:
        """Carry out what is pending, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for number in sorted(self._book):
                if number in self._book and self._book[number].status == "pending":
                    await self._carry_out(number)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        command = read_command(await request.read())
        if command.trigger is None:
            for url in command.cancel:
                await self._cancel(self._number(urlsplit(url).path.rpartition("/")[2]))
            return web.Response(status=200)
        now_s, number = int(time.time()), self._next
        self._next += 1
        made = Status(
            trigger=command.trigger, ctime=now_s, mtime=now_s, status="pending", number=number
        )
        await self._keep(made)
        self._wake.set()
        place = f"{request.url.origin()}/v1/triggers/{number}"
        return web.Response(
            status=201,
            body=encode(made),
            headers={"Location": place, "Content-Type": STATUS_TYPE},
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        base = f"{request.url.origin()}/v1/triggers"
        wanted = request.query.get("status")
        numbers = [n for n, each in sorted(self._book.items()) if wanted in (None, each.status)]
        body = {
            "triggers": [f"{base}/{number}" for number in numbers],
            "staleresourcetime": STALE_S,
            "coll-all": base,
            **{f"coll-{s}": f"{base}?status={s}" for s in ("pending", "active", "complete")},
            "coll-failed": f"{base}?status=failed",
        }
        return web.Response(body=encode(body), headers={"Content-Type": COLLECTION_TYPE})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        number = self._number(request.match_info["number"])
        await self._look(number)
        return web.Response(body=encode(self._book[number]), headers={"Content-Type": STATUS_TYPE})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        number = self._number(request.match_info["number"])
        if self._book[number].status not in _ENDED:
            await self._cancel(number)
        del self._book[number]
        await self._save()
        return web.Response(status=204)

    def _number(self, text: str) -> int:
        if (
            not (text.isascii() and text.isdigit() and len(text) < 12)
            or int(text) not in self._book
        ):
            raise NotFoundError(f"there is no trigger {text[:20]!r}")
        return int(text)

    async def _cancel(self, number: int) -> None:
        status = self._book[number]
        if status.status in _ENDED:
            return
        if status.status == "active" and status.trigger.type != "preposition":
            raise ConflictError("what is unlinked cannot be called back")
        await self._keep(status.moved("cancelled", int(time.time()), Fault(error="ecancelled")))

    async def _carry_out(self, number: int) -> None:
        """Do it; a folder that another planner holds is waited for."""
        while self._book.get(number, _GONE).status == "pending":
            try:
                done = await asyncio.to_thread(self._do, self._book[number])
            except UnavailableError:
                await asyncio.sleep(BUSY_S)
                continue
            except (OcaError, OSError) as exc:
                fault = Fault(error="ereject", description=str(exc))
                done = self._book[number].moved("failed", int(time.time()), fault)
            if number in self._book:
                await self._keep(done)
                _log.info("trigger", number=number, type=done.trigger.type, status=done.status)
            return

    def _do(self, status: Status) -> Status:
        now_s, catalogue = int(time.time()), self._files.read_catalogue()
        assets, faults = named_assets(status.trigger, catalogue)
        if faults:
            return status.moved("failed", now_s, *faults)
        status = msgspec.structs.replace(status, assets=assets)
        if status.trigger.type == "invalidate":
            # What the catalogue has is what its checksums say; what has left it is not valid.
            assets = tuple(each for each in assets if each not in catalogue.entries)
        if not assets:
            return status.moved("complete", now_s)
        if status.trigger.type == "preposition":
            generation = preposition(self._files, assets)
            return msgspec.structs.replace(status.moved("active", now_s), generation=generation)
        number = add_purge(self._files, assets)
        return msgspec.structs.replace(status.moved("active", now_s), purge_list=number)

    async def _look(self, number: int) -> None:
        """Whether the boxes have done what an active trigger wants of them."""
        status = self._book[number]
        if status.status != "active":
            return
        if status.trigger.type == "preposition":
            done = await asyncio.to_thread(self._stored, status.assets)
        else:
            acks = await self._writer.run(partial(History.purge_acks))
            boxes = self._files.read_fleet().appliances
            done = all(acks.get(box.id, (0, 0))[0] >= status.purge_list for box in boxes)
        if done and self._book.get(number) is status:
            await self._keep(status.moved("complete", int(time.time())))

    def _stored(self, assets: Sequence[int]) -> bool:
        """Whether every box that is to hold one of the assets says that it does."""
        ledger, next_id = Ledger(self._files.state), self._files.read_catalogue().next_id
        rows = ledger.rows(ledger.current())
        due = rows.where(np.isin(rows.asset, list(assets)) & (rows.action != Action.DROP))
        for name, mine in due.ranges().items():
            stored = self._files.read_inventory(name)
            held = ids_of(stored, next_id) if stored else np.zeros(0, np.int32)
            if not np.isin(due.asset[mine], held).all():
                return False
        return True

    async def _keep(self, status: Status) -> None:
        self._book[status.number] = status
        ended = [n for n, each in sorted(self._book.items()) if each.status in _ENDED]
        for number in ended[:-KEPT]:
            del self._book[number]
        await self._save()

    async def _save(self) -> None:
        await asyncio.to_thread(write_book, self._files.state, tuple(self._book.values()))


_GONE = Status(trigger=Trigger(type="purge"), ctime=0, mtime=0, status="cancelled")
