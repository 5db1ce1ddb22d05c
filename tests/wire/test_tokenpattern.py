"""Patterns that match what they say, and never for long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.token import scope_of
from wire.tokenpattern import PATTERN_CHARS_MAX, URI_CHARS_MAX, PatternError, pattern

SLOWEST_S = 1.0
"""Bound of one match on any machine that runs tests; the worst that may pass takes a tenth."""


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+b", "(a*)*b", "(a|a)*b", "(a|aa)+b", "(.*a){12}b", "(a?){40}b", ".*.*.*b",
        "(a?)" * 30 + "a" * 30, "(a|a)" * 30 + "b", "[^?]*/[^?]*/[^?]*/x", "((a{1,9}){1,9}){1,9}b",
        "(a{0,2000}){0,2000}b", "(ab|a|b)*c", "(x*y*)*z", r"(a)\1", "a(?=b)", "a(?!b)", "a*?b",
        "a*+b", "(?i)a", "(?i:a)", "(?P<n>a)", "(", "[", "a{2,1}", "x" * (PATTERN_CHARS_MAX + 1),
        "(" * 900 + ")" * 900, "[[:nonsense:]]", "a{99999999999999}", r"\bfoo",
    ],
)  # fmt: skip
def test_a_pattern_that_could_take_long_or_is_none_is_refused(text: str) -> None:
    """Known ways to hang a matcher that goes back, and what POSIX does not have."""
    with pytest.raises(PatternError):
        pattern(text)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        (scope_of([7, 8]).removeprefix("regex:"), "http://h/a/8/x?q", "http://h/a/9/x"),
        (scope_of(range(1, 300)).removeprefix("regex:"), "http://h/a/77/x", "http://h/a/777/x"),
        (
            # RFC 9246 §2.1.15.2
            r"[^:]*\://[^/]*/folder/content/quality_[^/]*/segment.{3}\.mp4(\?.*)?",
            "https://h/folder/content/quality_hi/segment007.mp4?x",
            "https://h/folder/content/segment007.mp4",
        ),
        (r"http://h/(film|show)/.*\.(m4s|mp4|m3u8)", "http://h/film/v1/s-1.m4s", "http://h/film/x"),
        ("http://h/([a-z]+/)*x", "http://h/a/b/c/x", "http://h/a/b/c/y"),
        ("http://h/[[:digit:]]{3}[[:alpha:]_-]?", "http://h/123-", "http://h/12a"),
        (r"http://h/[[:punct:]]\d\w", "http://h/[1a", "http://h/a1a"),
        ("^http://h/a$", "http://h/a", "http://h/ab"),
        ("http://h/a", "http://h/a", "http://h/ab"),
        ("http://h/.*", "http://h/" + "x" * 8000, "http://i/"),
        ("http://h/()?(|b)c{0}d{2}", "http://h/bdd", "http://h/bd"),
    ],
)
def test_a_pattern_matches_the_whole_uri(text: str, yes: str, no: str) -> None:
    """What players and operators need, long lists of assets as well."""
    assert pattern(text).covers(yes)
    assert not pattern(text).covers(no)


def test_a_long_uri_is_not_matched_where_time_grows_with_its_square() -> None:
    """Such a pattern works for the length that players send, and is not tried beyond."""
    wide = pattern("http://h/.*/x")
    assert wide.covers("http://h/" + "a" * (URI_CHARS_MAX - 11) + "/x")
    assert not wide.covers("http://h/" + "a" * URI_CHARS_MAX + "/x")


PIECES = ["a", "b", "ab", ".", "[ab]", "[^a]", "a?", "b*", ".*", "[^b]+", "a{0,3}",
          "(a|b)", "(ab)?", "(a|ab)", "(b+)", "(ab?)*", "(a[^a]*)*", ".{0,9}", "(a|b|)", "$",
          "(ab|ac)*"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.sampled_from("ab"))
@settings(max_examples=150, deadline=None)
def test_whatever_is_accepted_is_quick_on_hostile_texts(pieces: list[str], fill: str) -> None:
    """Texts made of what patterns like to read, that fail at their end only."""
    try:
        found = pattern("".join(pieces) + "c")
    except PatternError:
        return
    for text in (fill * (URI_CHARS_MAX - 1), "ab" * 1000, "aab" * 600, fill * 8000):
        begin_s = time.perf_counter()
        found.covers(text + "!")
        assert time.perf_counter() - begin_s < SLOWEST_S, pieces


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.text("abc", max_size=12))
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_means_what_it_says(pieces: list[str], text: str) -> None:
    """The very language of Python's own matcher, which here agrees with POSIX."""
    written = "".join(pieces)
    try:
        found = pattern(written)
    except PatternError:
        return
    assert found.covers(text) == (re.fullmatch(written, text) is not None)
