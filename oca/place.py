"""A place in the crew is always taken: by another after a death, by a successor before a farewell.

A worker's place is its listening socket, which outlives every process that accepts from it, so that
whoever waits in its queue is answered by the next one. Workers send signs of life through a pipe;
the first one says that they serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wire.log import get

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 5.0
STEADY_S = 10.0  # lived this long: its death is not one in a row
READY_S = 20.0
"""A successor that does not serve by then is given up, and the one before it stays."""
RENEW_S = 15.0  # for an agent to end in order
BEAT_S = 1.0  # a worker's sign of life
MISSED_MAX = 15
"""So many looks of the supervisor (one a second) without a sign: the worker hangs. Looks, not
seconds, so that a box that was frozen as a whole does not kill its workers when it wakes."""

_UNSHARED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
             "LISTEN_FDNAMES")  # fmt: skip
_log = get("supervisor")


class Books:
    """Which counter files are being written: each has one writer, and is used again after it."""

    def __init__(self, on_closed: Callable[[int], None]) -> None:
        """`on_closed` is told the number of a book whose writer is gone."""
        self._taken: set[int] = set()
        self._on_closed = on_closed

    def take(self) -> int:
        """The lowest number that nobody has."""
        book = next(i for i in range(len(self._taken) + 1) if i not in self._taken)
        self._taken.add(book)
        return book

    def give_back(self, book: int) -> None:
        """Its writer is gone."""
        self._on_closed(book)
        self._taken.discard(book)


@dataclass(frozen=True, slots=True)
class Duty:
    """What a place is for: `command` is the argv, `fds` what is inherited.

    With `books` it is a worker's: it gets a number of counters and a pipe for signs of life.
    """

    name: str
    command: Sequence[str]
    fds: Sequence[int]
    books: Books | None = None


def worker_duty(
    place: int, listener: socket.socket, life_fd: int, args: Sequence[str], books: Books
) -> Duty:
    """A data-plane worker; `args` say what it serves and where its counters are."""
    fd = listener.fileno()
    command = [
        *(sys.executable, "-m", "oca", "worker"),
        *("--listen-fd", str(fd), "--life-fd", str(life_fd), *args),
    ]
    return Duty(f"worker {place}", command, (fd, life_fd), books)


def agent_duty(args: Sequence[str], life_fd: int) -> Duty:
    """The appliance's agent."""
    command = [sys.executable, "-m", "oca", "agent", "--life-fd", str(life_fd), *args]
    return Duty("agent", command, (life_fd,))


def fetcher_duty(args: Sequence[str], life_fd: int) -> Duty:
    """What fetches what is not stored."""
    command = [sys.executable, "-m", "oca", "fetcher", "--life-fd", str(life_fd), *args]
    return Duty("fetcher", command, (life_fd,))


@dataclass(slots=True, eq=False)
class Life:
    """One process, from its start to its end."""

    process: asyncio.subprocess.Process
    book: int = -1
    beat_fd: int = -1
    began_s: float = field(default_factory=time.monotonic)
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    missed: int = 0
    told: bool = False

    def tell(self, number: int) -> None:
        """Have it end by a signal; it is then not missed."""
        self.told = True
        self.send(number)

    def send(self, number: int) -> None:
        """Send a signal to it, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def hear(self) -> None:
        """Take what came through its pipe."""
        try:
            heard = os.read(self.beat_fd, 4096)
        except BlockingIOError:
            return
        if heard:
            self.missed = 0
            self.serves.set()
        else:
            asyncio.get_running_loop().remove_reader(self.beat_fd)


class Place:
    """Keeps one place taken until told to stop."""

    def __init__(self, duty: Duty) -> None:
        """Nothing runs until `start`."""
        self._duty = duty
        self.name = duty.name
        self._life: Life | None = None
        self._lives: set[Life] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._stop = asyncio.Event()
        self._backoff_s = BACKOFF_FIRST_S

    async def start(self) -> None:
        """Start its first process."""
        self._life = await self._begin()

    async def serving(self) -> None:
        """Until it serves."""
        while self._life is None or not self._life.serves.is_set():
            if self._life is None:
                await asyncio.sleep(BACKOFF_FIRST_S)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._life.serves.wait(), BEAT_S)

    def is_well(self) -> bool:
        """Whether its process serves and gave a sign of life lately."""
        life = self._life
        return life is not None and life.serves.is_set() and life.missed < MISSED_MAX

    def look(self) -> None:
        """Called once a second: a worker that hangs is killed, and so replaced."""
        for life in self._lives:
            if life.beat_fd < 0 or not life.serves.is_set():
                continue
            life.missed += 1
            if life.missed == MISSED_MAX:
                _log.error("hangs, killed", child=self.name, pid=life.process.pid)
                life.send(signal.SIGKILL)

    async def replace(self) -> bool:
        """Have a successor serve, then let the one before it drain; False when that fails."""
        async with self._changing:
            before, fresh = self._life, await self._begin()
            try:
                await asyncio.wait_for(self._first_sign(fresh), READY_S)
            except TimeoutError:
                _log.error("no successor, the old one stays", child=self.name)
                fresh.tell(signal.SIGKILL)
                return False
            self._life = fresh
            if before is not None:
                before.tell(signal.SIGTERM)
            return True

    async def _first_sign(self, life: Life) -> None:
        """Until it serves; raises TimeoutError as soon as it is dead instead."""
        while not life.serves.is_set():
            if life.process.returncode is not None:
                raise TimeoutError
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(life.serves.wait(), BACKOFF_FIRST_S)

    def renew(self) -> None:
        """End its process, and start another when that is gone: for those that cannot be two."""
        if self._life is not None:
            self._life.tell(signal.SIGTERM)
            asyncio.get_running_loop().call_later(RENEW_S, self._life.send, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask all its processes to end; none is started again."""
        self._stop.set()
        for life in self._lives:
            life.tell(number)

    async def ended(self) -> None:
        """Until all its processes are gone."""
        while self._watches:
            await asyncio.gather(*self._watches)

    async def _begin(self) -> Life:
        duty = self._duty
        command, fds = list(duty.command), list(duty.fds)
        book, reader, writer = -1, -1, -1
        if duty.books is not None:
            book = duty.books.take()
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            command += ["--index", str(book), "--beat-fd", str(writer)]
            fds.append(writer)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, pass_fds=fds, env=_environment(os.environ)
            )
        finally:
            if writer >= 0:
                os.close(writer)
        life = Life(process, book, reader)
        if reader >= 0:
            asyncio.get_running_loop().add_reader(reader, life.hear)
        else:
            life.serves.set()
        self._lives.add(life)
        watch = asyncio.create_task(self._watch(life))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        if self._stop.is_set():
            life.tell(signal.SIGTERM)
        return life

    async def _watch(self, life: Life) -> None:
        """Until it is gone, and has been replaced if that was not meant to be."""
        status = await life.process.wait()
        self._lives.discard(life)
        if life.beat_fd >= 0:
            asyncio.get_running_loop().remove_reader(life.beat_fd)
            os.close(life.beat_fd)
        if self._duty.books is not None:
            self._duty.books.give_back(life.book)
        if life is self._life and not self._stop.is_set() and not life.told:
            await self._mourn(life, status)
        async with self._changing:
            if life is self._life and not self._stop.is_set():
                self._life = await self._begin()

    async def _mourn(self, life: Life, status: int) -> None:
        """Say that it died, and wait a little longer after every death in a row."""
        lived_s = time.monotonic() - life.began_s
        backoff_s = BACKOFF_FIRST_S if lived_s > STEADY_S else self._backoff_s
        self._backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        _log.error("died", child=self.name, status=status, lived_s=round(lived_s, 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), backoff_s)


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """What children inherit: not what systemd said to the supervisor alone."""
    return {name: value for name, value in own.items() if name not in _UNSHARED}
