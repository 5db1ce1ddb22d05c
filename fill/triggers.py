"""CDNI triggers (RFC 8007) as messages, and which assets they mean. Pure.

An upstream asks for content to be put in place (preposition), to be checked (invalidate) or to go
(purge), by URL, by pattern, or by `content.ccid`, which is a title here; and asks how far that is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from fill.catalogue import Snapshot
from wire.codec import decode
from wire.errors import WireError

STATUS_TYPE = "application/cdni; ptype=ci-trigger-status"
COLLECTION_TYPE = "application/cdni; ptype=ci-trigger-collection"
NAMES_MAX = 10_000
PATTERN_CHARS_MAX = 512
_ASSET = re.compile(r"^/a/(\d{1,10})(?:[;/].*)?$")
_Names = Annotated[tuple[str, ...], Meta(max_length=NAMES_MAX)]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """PatternMatch (RFC 8007 §5.2.4): `*` is any text, `?` one character, `$` the escape."""

    pattern: Annotated[str, Meta(min_length=1, max_length=PATTERN_CHARS_MAX)]
    case_sensitive: bool = msgspec.field(name="case-sensitive", default=False)
    match_query: bool = msgspec.field(name="match-query-string", default=False)


class Trigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Trigger specification (§5.2.1); metadata is steering's own here, and cannot be triggered."""

    type: Literal["preposition", "invalidate", "purge"]
    urls: _Names = msgspec.field(name="content.urls", default=())
    titles: _Names = msgspec.field(name="content.ccid", default=())
    patterns: Annotated[tuple[Pattern, ...], Meta(max_length=100)] = msgspec.field(
        name="content.patterns", default=()
    )
    metadata_urls: _Names = msgspec.field(name="metadata.urls", default=())
    metadata_patterns: tuple[Pattern, ...] = msgspec.field(name="metadata.patterns", default=())


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """CI/T command (§5.1.1): a trigger, or status resources to cancel."""

    trigger: Trigger | None = None
    cancel: _Names = ()
    cdn_path: _Names = msgspec.field(name="cdn-path", default=())


Phase = Literal["pending", "active", "complete", "failed", "cancelled"]
NEXT: Mapping[Phase, frozenset[Phase]] = {
    "pending": frozenset({"active", "complete", "failed", "cancelled"}),
    "active": frozenset({"complete", "failed", "cancelled"}),
    "complete": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Error description (§5.2.6): econtent for what is not known, ereject for what is not done,
    ecancelled."""

    error: Literal["econtent", "emeta", "ereject", "ecancelled"]
    urls: tuple[str, ...] = msgspec.field(name="content.urls", default=())
    titles: tuple[str, ...] = msgspec.field(name="content.ccid", default=())
    description: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Trigger status resource (§5.1.2): times in Unix seconds. `number`, `assets`, `purge_list` and
    `generation` are fill's own: what it did, so that a restart goes on from there."""

    trigger: Trigger
    ctime: int
    mtime: int
    status: Phase
    errors: tuple[Fault, ...] = ()
    number: int = 0
    assets: tuple[int, ...] = ()
    purge_list: int = 0
    generation: int = 0

    def moved(self, status: Phase, now_s: int, *faults: Fault) -> Status:
        """The resource in another state; raises ValueError for a step that there is not."""
        if status not in NEXT[self.status]:
            raise ValueError(f"a trigger that is {self.status} cannot become {status}")
        return msgspec.structs.replace(
            self, status=status, mtime=now_s, errors=(*self.errors, *faults)
        )


def read_command(raw: bytes) -> Command:
    """Read a CI/T command; raises WireError naming the field at fault."""
    command = decode(Command, raw, "trigger command")
    if (command.trigger is None) == (not command.cancel):
        raise WireError("trigger command", "$", "it has either a trigger or a cancel list")
    trigger = command.trigger
    if trigger is None:
        return command
    if trigger.metadata_urls or trigger.metadata_patterns:
        raise WireError("trigger command", "$.trigger", "metadata cannot be triggered here")
    if not (trigger.urls or trigger.titles or trigger.patterns):
        raise WireError("trigger command", "$.trigger", "it names no content")
    if trigger.patterns and trigger.type == "preposition":
        raise WireError(
            "trigger command", "$.trigger.content.patterns", "a preposition has none (§5.2.1)"
        )
    return command


def named_assets(trigger: Trigger, catalogue: Snapshot) -> tuple[tuple[int, ...], list[Fault]]:
    """The assets that a trigger means, and what of it means none. A URL is that of a file of an
    asset, or of its folder: assets are placed whole."""
    found: set[int] = set()
    unknown = []
    for url in trigger.urls:
        match = _ASSET.match(urlsplit(url).path)
        number = int(match[1]) if match else -1
        known = 0 <= number < catalogue.next_id
        if trigger.type == "preposition":
            known = number in catalogue.entries
        if known:
            found.add(number)
        else:
            unknown.append(url)
    titles: dict[str, list[int]] = {}
    for number, entry in catalogue.entries.items():
        titles.setdefault(entry.asset.title, []).append(number)
    lost = [title for title in trigger.titles if title not in titles]
    found.update(number for title in trigger.titles for number in titles.get(title, ()))
    for pattern in trigger.patterns:
        wanted = _regex(pattern)
        found.update(
            number
            for number, entry in catalogue.entries.items()
            if any(wanted.fullmatch(f"/a/{number}/{file.name}") for file in entry.asset.files)
        )
    faults = []
    if unknown or lost:
        faults.append(Fault(error="econtent", urls=tuple(unknown), titles=tuple(lost)))
    return tuple(sorted(found)), faults


def _regex(pattern: Pattern) -> re.Pattern[str]:
    """The pattern over paths; scheme and host in it are left out, as all hosts serve the same."""
    text = re.sub(r"^[a-z]+://[^/]*", "", pattern.pattern)
    parts, escaped = [], False
    for sign in text:
        if escaped:
            parts.append(re.escape(sign))
            escaped = False
        elif sign == "$":
            escaped = True
        else:
            parts.append({"*": ".*", "?": "."}.get(sign, re.escape(sign)))
    joined = re.sub(r"(?:\.\*)+", ".*", "".join(parts))
    return re.compile(joined, 0 if pattern.case_sensitive else re.IGNORECASE)
