"""The loop of a worker: asyncio's own, over an epoll that calls connections without a detour.

An adapter. What asyncio registers (pipes, signals, threads' wake-ups) is reported to it as by any
selector. A connection's descriptor is *direct*: its callback runs inside `select`, so an event
costs one dict look-up and one call, a connection costs one dict entry, one reading of the clock
serves the whole batch, and a blocked answer costs two `epoll_ctl`. asyncio and uvloop make a handle
for each watcher and go through their queue of callbacks.
"""

from __future__ import annotations

import asyncio
import math
import select
import selectors
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
ROOM = WRITE | select.EPOLLET
"""WRITE, told once: as often as somebody watches for it anew. Of 2,000 slow readers that may all be
written to, each turn of the loop would else be told again, before it is told who asks."""
BATCH_MAX = 256  # events taken at once; then asyncio's own callbacks have their turn
BULK_TURN_S = 0.0001
"""Answers under way are gone on with for so long, or as long as the new requests before them took,
then it is looked whether somebody asked: a new request waits for one turn of sending, not for one
of every large answer, and a stream of new ones leaves half of the time to what has begun."""

Direct = Callable[[int], None]
"""Called with the epoll events of its descriptor; must not raise."""


class Poller(selectors.BaseSelector):
    """An epoll with two kinds of watchers: asyncio's, and direct ones."""

    def __init__(self) -> None:
        """Open the epoll."""
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._direct: dict[int, Direct] = {}
        self._bulk: dict[int, int] = {}  # descriptors that take more of an answer, first come first
        self.now_s = time.monotonic()
        """When the present batch of events was taken (monotonic)."""

    # --- direct watchers -------------------------------------------------------------------------

    def watch(self, fd: int, call: Direct, events: int = READ) -> None:
        """Call `call(events)` whenever `fd` is ready, until `unwatch`."""
        self._epoll.register(fd, events)
        self._direct[fd] = call

    def change(self, fd: int, events: int) -> None:
        """Watch for other events from now on; errors and hang-ups are always reported."""
        self._epoll.modify(fd, events)

    def again(self, fd: int) -> None:
        """Call it with WRITE when those before it had their turn: it can take more at once."""
        self._bulk[fd] = WRITE

    def unwatch(self, fd: int) -> None:
        """No more calls; an event of the present batch that is still to come is dropped."""
        if self._direct.pop(fd, None) is not None:
            self._bulk.pop(fd, None)
            self._epoll.unregister(fd)

    # --- asyncio's side --------------------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As selectors.BaseSelector says; raises KeyError when it is registered."""
        fd = _fd(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered")
        self._epoll.register(fd, _epoll_events(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As selectors.BaseSelector says; raises KeyError when it is not registered."""
        fd = _fd(fileobj)
        key = self._keys.pop(fd)
        with suppress(OSError):  # closed before: the kernel has forgotten it already
            self._epoll.unregister(fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As selectors.BaseSelector says; raises KeyError when it is not registered."""
        fd = _fd(fileobj)
        old = self._keys[fd]
        if events != old.events:
            self._epoll.modify(fd, _epoll_events(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, call the direct watchers, and report the rest."""
        bulk = self._bulk
        wait_s = -1.0 if timeout is None else max(0.0, math.ceil(timeout * 1e3) * 1e-3)
        ready: list[tuple[selectors.SelectorKey, int]] = []
        try:
            events = self._epoll.poll(0.0 if bulk else wait_s, BATCH_MAX)
        except InterruptedError:
            return ready
        self.now_s = time.monotonic()
        direct = self._direct
        for fd, event in events:
            call = direct.get(fd)
            if call is not None:
                if event == WRITE:
                    bulk[fd] = WRITE
                else:
                    call(event)
            elif fd in self._keys:
                key = self._keys[fd]
                ready.append((key, _selector_events(event) & key.events))
        if bulk:
            now_s = time.monotonic()
            self._go_on(now_s + max(BULK_TURN_S, now_s - self.now_s))
        return ready

    def _go_on(self, until_s: float) -> None:
        """Some of the answers under way, in the order in which their peers took the last piece."""
        bulk, direct = self._bulk, self._direct
        while bulk:
            fd = next(iter(bulk))
            del bulk[fd]
            direct[fd](WRITE)
            if time.monotonic() >= until_s:
                return

    def close(self) -> None:
        """Close the epoll; what was watched stays open."""
        self._epoll.close()
        self._keys.clear()
        self._direct.clear()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """asyncio's watchers by descriptor."""
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """The key of one of asyncio's watchers; raises KeyError when there is none."""
        return self._keys[_fd(fileobj)]


def _fd(fileobj: Any) -> int:
    fd: int = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"{fileobj!r} has no descriptor")
    return fd


def _epoll_events(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (
        WRITE if events & selectors.EVENT_WRITE else 0
    )


def _selector_events(event: int) -> int:
    """An error or hang-up wakes readers and writers: their next call will say what it is."""
    return (selectors.EVENT_READ if event & ~WRITE else 0) | (
        selectors.EVENT_WRITE if event & ~READ else 0
    )


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop over a `Poller`; use as `asyncio.Runner(loop_factory=Loop)`."""

    def __init__(self) -> None:
        """A loop of its own poller."""
        self.poller = Poller()
        super().__init__(self.poller)
