"""The patterns of `regex:` containers (RFC 9246 §2.1.15.2) that cannot hang a worker. Pure.

They come from a signer we trust, but are matched against what anybody sends. Python's matcher goes
back and tries again, so the number of ways in which one text could be read is bounded before the
pattern is used: with one character of look-ahead, where may more than one way go on? A pattern
without such a place costs linear time; one open loop with a choice at its end (`.*/seg`) costs the
square of the text, which is bounded; a choice inside a loop (`(a+)+`, `(a|a)*`) is exponential and
refused, as are two such loops in a row. What POSIX extended expressions do not have (look-around,
back references, lazy loops, flags) is refused as well.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache, reduce
from re import _constants as sre  # type: ignore[attr-defined]  # typeshed does not know it
from re import _parser  # type: ignore[attr-defined]  # the same parser that compiles it
from typing import Any

PATTERN_CHARS_MAX = 2048
URI_CHARS_MAX = 2048
"""A longer URI is not matched against an open loop with a choice: its square are steps."""

WAYS_MAX = 4 * URI_CHARS_MAX
"""One open loop with a choice and a few alternatives; two loops would be 2048²."""

# `[[a]` may mean something else in a Python to come; here it means what POSIX says.
warnings.filterwarnings("ignore", "Possible", FutureWarning)

_ASCII = (1 << 128) - 1
_END = 1 << 128  # nothing follows
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "digit": "0-9", "lower": "a-z", "upper": "A-Z",
    "xdigit": "0-9A-Fa-f", "punct": "!-/:-@[-`{-~".replace("[", r"\["),
    "blank": " ", "space": " ", "graph": "!-~", "print": " -~",
}  # fmt: skip
_CLASS = re.compile(r"\[:(\w*):\]")
_CATEGORIES = {
    sre.CATEGORY_DIGIT: "[0-9]", sre.CATEGORY_NOT_DIGIT: "[^0-9]",
    sre.CATEGORY_WORD: "[0-9A-Za-z_]", sre.CATEGORY_NOT_WORD: "[^0-9A-Za-z_]",
    sre.CATEGORY_SPACE: r"[ \t-\r]", sre.CATEGORY_NOT_SPACE: r"[^ \t-\r]",
}  # fmt: skip


class PatternError(ValueError):
    """No pattern, or one that could take too long."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that may be used; `is_square` when its time is not linear in the text."""

    compiled: re.Pattern[str]
    is_square: bool

    def covers(self, uri: str) -> bool:
        """Whether it matches the URI from its first to its last character."""
        if self.is_square and len(uri) > URI_CHARS_MAX:
            return False
        return self.compiled.fullmatch(uri) is not None


@lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern:
    """The pattern of an extended regular expression; raises PatternError."""
    if len(text) > PATTERN_CHARS_MAX:
        raise PatternError("too long")
    text = _CLASS.sub(_posix_class, text)
    try:
        tree = _parser.parse(text, re.ASCII)
        ways = _sequence(tree, _END).ways
        compiled = re.compile(text, re.ASCII)
    except (re.error, OverflowError, RecursionError) as exc:
        raise PatternError("this is not a regular expression") from exc
    if tree.state.groupdict or tree.state.flags & ~(re.ASCII | re.UNICODE):
        raise PatternError("flags and names are not in an extended regular expression")
    if ways > WAYS_MAX:
        raise PatternError("could take too long")
    return Pattern(compiled, ways >= URI_CHARS_MAX)


def _posix_class(match: re.Match[str]) -> str:
    """`[:digit:]`, which stands inside brackets, as Python writes it; raises PatternError."""
    found = _CLASSES.get(match.group(1))
    if found is None:
        raise PatternError(f"no such class: {match.group()}")
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """What a part of a pattern may begin with (bits of ASCII), whether it may be empty, and in how
    many ways it can be read."""

    first: int
    is_empty: bool
    ways: int = 1

    def before(self, follow: int) -> int:
        """What may come next where this part stands before `follow`."""
        return self.first | (follow if self.is_empty else 0)


def _sequence(items: Any, follow: int) -> _Part:
    first, is_empty, ways = 0, True, 1
    for operation, argument in reversed(list(items)):
        part = _part(operation, argument, follow)
        follow = part.before(follow)
        first = part.before(first)
        is_empty = is_empty and part.is_empty
        ways *= part.ways
    return _Part(first, is_empty, ways)


def _part(operation: Any, argument: Any, follow: int) -> _Part:
    """Look at one item of Python's own syntax tree; raises PatternError for what is not allowed."""
    if operation in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
        return _Part(_characters(operation, argument), False)
    if operation is sre.AT and argument in (sre.AT_BEGINNING, sre.AT_END):
        return _Part(0, True)
    if operation is sre.BRANCH:
        return _branch([_sequence(items, follow) for items in argument[1]], follow)
    if operation is sre.SUBPATTERN and not argument[1] and not argument[2]:
        return _sequence(argument[3], follow)
    if operation is sre.MAX_REPEAT:
        low, high, items = argument
        return _loop(low, high, items, follow)
    raise PatternError("not in an extended regular expression")


def _branch(parts: list[_Part], follow: int) -> _Part:
    first = reduce(lambda bits, part: bits | part.first, parts, 0)
    is_empty = any(part.is_empty for part in parts)
    nexts = [part.before(follow) for part in parts]
    if sum(bits.bit_count() for bits in nexts) == reduce(int.__or__, nexts, 0).bit_count():
        return _Part(first, is_empty, max(part.ways for part in parts))
    return _Part(first, is_empty, sum(part.ways for part in parts))


def _loop(low: int, high: int, items: Any, follow: int) -> _Part:
    """`?`, `*`, `+` and `{m,n}`; raises PatternError for a loop over a choice or over nothing."""
    if high <= 1:
        body = _sequence(items, follow)
        has_choice = low < high and (body.is_empty or bool(body.first & follow))
        return _Part(body.first, body.is_empty or low == 0, body.ways + has_choice)
    first = _sequence(items, _ASCII | _END).first
    body = _sequence(items, first | follow)
    if body.is_empty or body.ways > 1:
        raise PatternError("a choice inside a loop")
    has_choice = low < high and bool(body.first & follow)
    ways = min(int(high) - int(low) + 1, URI_CHARS_MAX) if has_choice else 1
    return _Part(body.first, low == 0, ways)


def _characters(operation: Any, argument: Any) -> int:
    """The ASCII characters that one item of a pattern stands for, as bits."""
    if operation is sre.LITERAL:
        return _bit(argument)
    if operation is sre.NOT_LITERAL:
        return _ASCII & ~_bit(argument)
    if operation is sre.ANY:
        return _ASCII & ~_bit(ord("\n"))
    if operation is sre.RANGE:
        low, high = argument
        return reduce(int.__or__, (_bit(code) for code in range(low, min(high, 127) + 1)), 0)
    if operation is sre.CATEGORY:
        return _class_bits(_CATEGORIES[argument])
    negated = bool(argument) and argument[0][0] is sre.NEGATE
    bits = reduce(int.__or__, (_characters(*item) for item in argument[int(negated) :]), 0)
    return _ASCII & ~bits if negated else bits


def _bit(code: int) -> int:
    return 1 << code if code < 128 else 0


@lru_cache(maxsize=16)
def _class_bits(text: str) -> int:
    member = re.compile(text)
    return sum(1 << code for code in range(128) if member.match(chr(code)))
