"""What a player says when it asks for a steering manifest, in all the forms that players use. Pure.

hls.js sends `_HLS_pathway=A`, dash.js `_DASH_pathway="a,b"` (quoted, all it has used lately, newest
last), Shaka one unquoted id, none at first. These are hints: one that makes no sense is no hint and
never an error. Throughputs (`_HLS_throughput`, and `_DASH_throughput` with its empty entries) are
not read: an answer must not depend on them, or every answer would be different.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wire.errors import WireError

LISTED_MAX = 64  # pathways in one manifest; ours list the configured few and the origin
HINT_CHARS_MAX = 4096  # 64 ids of 63 letters; a longer hint is none
_PATHWAY = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class Protocols(StrEnum):
    """Which protocol a manifest is of; the value is in our paths."""

    HLS = "hls"
    DASH = "dash"


class Query(Protocol):
    """A query string's parameters, as aiohttp's and multidict's types give them."""

    def getall(self, key: str, default: list[str]) -> Sequence[str]:
        """Every value of a parameter, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: the title, the pathways that the player's manifest lists, the state we gave it
    (sealed still), and the pathway it plays from now (None: it does not say)."""

    protocol: Protocols
    title: str
    listed: tuple[str, ...]
    state: str = ""
    current: str | None = None
    quoted: bool = False

    @property
    def drops_ports(self) -> bool | None:
        """Whether this player puts a clone's HOST where the base's host name stood and keeps the
        port (hls.js, Shaka), or takes HOST for host and port together (dash.js, which alone quotes
        its list). None: it has not said enough yet."""
        if self.protocol is Protocols.HLS:
            return True
        return None if self.current is None else not self.quoted


def read_question(protocol: Protocols, query: Query) -> Asked:
    """Read a steering request's query; raises WireError naming a parameter of ours that is wrong.
    What players add themselves is taken if it makes sense."""
    title = _ours(query, "title")
    if not _TITLE.match(title):
        raise WireError("query", "title", "this is not the id of a title")
    hint = query.getall(f"_{protocol.name}_pathway", [])
    text = hint[-1].strip() if hint else ""
    return Asked(
        protocol=protocol,
        title=title,
        listed=read_listed(_ours(query, "pathways")),
        state=_ours(query, "state"),
        current=_newest(text),
        quoted=text.startswith('"'),
    )


def read_listed(text: str) -> tuple[str, ...]:
    """The pathways that a manifest lists, from `a,b,c`; raises WireError."""
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if not names or len(names) > LISTED_MAX:
        raise WireError("query", "pathways", f"1 to {LISTED_MAX} pathway ids are needed")
    for name in names:
        if not is_pathway(name):
            raise WireError("query", "pathways", f"{name[:64]!r} is not a pathway id")
    return names


def is_pathway(name: str) -> bool:
    """Whether a text can be a pathway's id (Apple's specification §2: letters, digits, `.-_`)."""
    return _PATHWAY.match(name) is not None


def _ours(query: Query, name: str) -> str:
    """A parameter that we put into the URL ourselves, so it is there once at most."""
    values = query.getall(name, [])
    if len(values) > 1:
        raise WireError("query", name, "given more than once")
    return values[0] if values else ""


def _newest(text: str) -> str | None:
    """The pathway used last, from `a`, `"a"`, `a,b` or `"a,b"`; None where there is none."""
    if len(text) > HINT_CHARS_MAX:
        return None
    names = [name.strip().strip('"') for name in text.split(",")]
    found = [name for name in names if is_pathway(name)]
    return found[-1] if found else None
