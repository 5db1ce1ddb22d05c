"""What docs/PLAYERS.md shows is what the tests run: snippets, versions, the example answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

from steering.asked import Protocols
from steering.lint import Listing, check_answer
from tests.browser.viewer import PAGES, PLAYERS

PAGE = (Path(__file__).parents[2] / "docs" / "PLAYERS.md").read_text()


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)


def test_snippets_are_lines_of_the_pages_that_are_played() -> None:
    """Each of the first three is in one page, line by line; those for a long pause come after."""
    pages = [page.read_text() for page in sorted(PAGES.glob("*.html"))]
    run = [{line.strip() for line in page.splitlines()} for page in pages]
    played, rest = blocks("js")[:3], blocks("js")[3:]
    assert len(played) == 3 and all("again()" in snippet for snippet in rest)
    for snippet in played:
        lines = {line.strip() for line in snippet.splitlines()}
        assert any(lines <= page for page in run), snippet


def test_the_versions_are_those_installed() -> None:
    """As package.json pins them."""
    pinned = json.loads((PLAYERS.parent / "package.json").read_text())["dependencies"]
    names = {"hls.js": "hls.js", "dashjs": "dash.js", "shaka-player": "Shaka Player"}
    for package, name in names.items():
        assert f"{name} {pinned[package]}" in PAGE


def test_the_example_of_an_answer_is_a_good_one() -> None:
    """As the lint judges it, for the listing in its RELOAD-URI."""
    (example,) = blocks("json")
    listed = {name: f"https://{name}.example/a/1/" for name in ("a", "b", "origin")}
    listing = Listing(Protocols.HLS, "https://s/", "a", {"variant": listed})
    assert check_answer(example, listing) == []
