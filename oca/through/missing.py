"""A worker's answers to what is not in its store: from views it remembers, else by the fetcher.

An adapter. A view is believed as long as it is fresh, so a hit needs no word of the fetcher; the
policy hears of hits in batches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from oca.account import DemandKey
from oca.http.ranges import parse_ranges
from oca.reasons import SLOT_NAMES, THROUGH_SLOT
from oca.service import FeedError, Later, Reply, Request
from oca.through.answer import Told, cache_status, failure, plan_of, told_of, with_cookie
from oca.through.channel import Channel
from oca.through.chunks import CHUNK_BYTES
from oca.through.feed import Feed
from oca.through.messages import ALONE_AHEAD, Ask, Failed, Found, View, first_window
from oca.through.target import key_of

VIEWS_MAX = 16_384  # ~1.5 kB each
AGAIN_MAX = 2  # times that an answer which changed before it began is asked for anew
HIT, PARTIAL = Told(), Told("partial", stored=True)
Tell = Callable[[Reply], None]


class Remembered(msgspec.Struct):
    """A view, when it came and until when it is fresh (monotonic seconds)."""

    view: View
    came_s: float
    until_s: float


class Wanted(msgspec.Struct, frozen=True):
    """One request for one object; `key` is whose demand it is."""

    request: Request
    target: str
    key: DemandKey | None


class Missing:
    """What a worker does with what is not stored, when the policy is to fetch it."""

    def __init__(self, channel: Channel, name: str, boundary: bytes, ahead: int) -> None:
        """`name` is this cache's in Cache-Status; `ahead` the chunks wanted before they are due."""
        self.channel, self._name, self._boundary, self._ahead = channel, name, boundary, ahead
        self._views: OrderedDict[str, Remembered] = OrderedDict()
        self._metrics = memoryview(bytearray(8 * len(SLOT_NAMES))).cast("Q")
        channel.on_dropped = self._drop

    def answer(self, request: Request, path: bytes, key: DemandKey | None) -> Reply:
        """The answer; raises Later when it is to come, RequestError for a doubtful target."""
        wanted = Wanted(request, key_of(path, request.line.query), key)
        seen = self._views.get(wanted.target)
        if seen is None or request.tick_s >= seen.until_s:
            raise Later(Coming(self, wanted))
        return self._from_view(wanted, seen)

    def forget(self) -> None:
        """What was true may not be so any more (the generation rose)."""
        self._views.clear()
        self.channel.shelf.clear()

    def count_in(self, metrics: memoryview) -> None:
        """Counts what became of each request there."""
        self._metrics = metrics

    def count(self, result: str) -> None:
        """One more answer, told why; see oca.reasons.THROUGH."""
        self._metrics[THROUGH_SLOT[result]] += 1

    def _drop(self, keys: list[str]) -> None:
        for key in keys:
            self._views.pop(key, None)

    def _from_view(self, wanted: Wanted, seen: Remembered) -> Reply:
        """A hit, as far as it is stored; else the rest is fetched, and it begins with that."""
        told = HIT
        reply, feed = self.reply(wanted, seen, told)
        if feed is not None and not feed.is_held():
            told = PARTIAL
            reply, feed = self.reply(wanted, seen, told)
        try:
            if feed is None or feed.is_ready():
                self.count(told.forward or "hit")
                return reply
        except FeedError:
            raise Later(Coming(self, wanted)) from None
        raise Later(Coming(self, wanted, (told, reply, feed)))

    def remember(self, target: str, view: View, now_s: float) -> Remembered:
        """Keep a view as long as it is fresh."""
        seen = Remembered(view, now_s, now_s + view.fresh_for_s)
        if view.fresh_for_s > 0 and not view.alone and view.body is None:
            self._views[target] = seen
            self._views.move_to_end(target)
            if len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        return seen

    def reply(
        self, wanted: Wanted, seen: Remembered, told: Told
    ) -> tuple[Reply, Feed | None]:  # fmt: skip
        """The reply from a view, and the feed of its body if that is in chunks."""
        request, view = wanted.request, seen.view
        age_s = view.age_s + request.tick_s - seen.came_s
        ttl_s = max(0.0, seen.until_s - request.tick_s)
        extra = cache_status(self._name, told, ttl_s)
        if not view.alone or view.body is not None or age_s >= 1:  # a cache before us said so
            extra = b"Age: %d\r\n%b" % (max(0, int(age_s)), extra)
        if request.cookie:
            view = with_cookie(view, request.cookie)
        plan = plan_of(
            request.line,
            request.fields,
            view,
            extra,
            date=request.date,
            now_s=request.now_s,
            close=request.close,
            boundary=self._boundary,
        )
        if not any(isinstance(part, tuple) for part in plan.parts):
            return Reply(plan, key=wanted.key), None
        chunked = view.size is None and request.line.minor == 1
        ahead = min(self._ahead, ALONE_AHEAD) if view.alone else self._ahead
        feed = Feed(self.channel, view, plan.parts, ahead, chunked=chunked)
        bare = msgspec.structs.replace(plan, parts=())
        return Reply(bare, key=wanted.key, feed=feed), feed

    def failed(self, wanted: Wanted, status: int, size: int | None = None) -> Reply:
        """There is nothing to serve."""
        self.count("failed")
        request = wanted.request
        plan = failure(
            request.line,
            status,
            date=request.date,
            close=request.close,
            name=self._name,
            size=size,
        )
        return Reply(plan)

    def ask_of(self, wanted: Wanted) -> Ask:
        """The question to the fetcher: which bytes the client wants first, if that can be said."""
        line, fields = wanted.request.line, wanted.request.fields
        number = self.channel.new_id()
        if line.method == "HEAD":
            return Ask(number, wanted.target, head=True)
        if fields.range is None:
            return Ask(number, wanted.target, ahead=self._ahead)
        raw = fields.range.decode("latin-1")
        spans = parse_ranges(fields.range, 2**62)
        simple = spans is not None and len(spans) == 1 and fields.if_range is None
        if spans is None:
            return Ask(number, wanted.target, ahead=self._ahead)
        if not simple or raw.partition("=")[2].lstrip().startswith("-"):
            return Ask(
                number, wanted.target, first=0, last=CHUNK_BYTES - 1, range=raw, ahead=self._ahead
            )
        first, length = spans[0]
        last = None if first + length == 2**62 else first + length - 1
        return Ask(number, wanted.target, first=first, last=last, range=raw, ahead=self._ahead)


class Coming:
    """An answer that is to come: a version is asked for, or its first bytes are waited for."""

    def __init__(
        self,
        missing: Missing,
        wanted: Wanted,
        begun: tuple[Told, Reply, Feed | None] | None = None,
    ) -> None:
        """With `begun` the version is known, and only its bytes are missing."""
        self._missing, self._wanted, self._begun = missing, wanted, begun
        self._tell: Tell | None = None
        self._again = AGAIN_MAX
        self.ask = missing.ask_of(wanted)

    def begin(self, tell: Tell) -> None:
        """Have `tell` called with the reply, once, perhaps at once; unless it is given up."""
        self._tell = tell
        if self._begun is None:
            self._missing.channel.ask(self)
        else:
            self._wait_for_bytes()

    def give_up(self) -> None:
        """The client is gone."""
        self._tell = None
        self._missing.channel.give_up(self.ask.id)
        if self._begun is not None and self._begun[2] is not None:
            self._begun[2].close()

    def on_answer(self, answer: Found | Failed) -> None:
        """The fetcher said which version to serve, or that there is none."""
        if self._tell is None:
            return
        if isinstance(answer, Failed):
            self._end(self._missing.failed(self._wanted, answer.status, answer.size))
            return
        now_s = self._missing.channel.now_s
        seen = self._missing.remember(self._wanted.target, answer.view, now_s)
        request = msgspec.structs.replace(self._wanted.request, tick_s=now_s)
        self._wanted = msgspec.structs.replace(self._wanted, request=request)
        told = told_of(answer)
        reply, feed = self._missing.reply(self._wanted, seen, told)
        if feed is not None and not told.forward and not feed.is_held():
            told = PARTIAL
            reply, feed = self._missing.reply(self._wanted, seen, told)
        if answer.begun and feed is not None:
            feed.begin(first_window(self.ask, answer.view))
        elif answer.begun:
            self._missing.channel.leave_stream(self.ask.id)
        self._begun = (told, reply, feed)
        self._wait_for_bytes()

    def _wait_for_bytes(self) -> None:
        """An answer begins with its first bytes, so that one without is an error and not a cut."""
        if self._begun is None:
            return
        told, reply, feed = self._begun
        if feed is not None:
            feed.on_ready = self._wait_for_bytes
            try:
                if not feed.is_ready():
                    return
            except FeedError as exc:
                self._on_fault(feed, exc)
                return
        if self._tell is not None:
            self._missing.count(told.forward or "hit")
        self._end(reply)

    def _on_fault(self, feed: Feed, fault: FeedError) -> None:
        feed.close()
        if fault.status == 409 and self._again > 0:
            self._again -= 1
            self._begun = None
            self.ask = self._missing.ask_of(self._wanted)
            self._missing.channel.ask(self)
            return
        self._end(self._missing.failed(self._wanted, 502 if fault.status == 409 else fault.status))

    def _end(self, reply: Reply) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(reply)
