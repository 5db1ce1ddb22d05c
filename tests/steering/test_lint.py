"""The lint finds each trap that players were seen to fall into, and nothing in what we serve."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from steering.dash import read_mpd
from steering.hls import read_multivariant
from steering.lint import Finding, check_answer
from steering.lint_manifest import lint_manifest
from tests.steering.replica import HERE, ROOT, running
from tests.steering.test_dash import MPD, TEMPLATES
from tests.steering.test_hls import EXTRAS, MASTER, way
from tests.steering.test_play import report_all

URI = "http://s/v1/steering/x?title=film"
WAYS = [way("a"), way("b"), way("origin")]
HLS = read_multivariant(MASTER).render(WAYS, URI)
DASH = read_mpd(MPD).render(WAYS, URI)
BOUND = TEMPLATES.replace("audio/a-", "audio/a-$RepresentationID$-")
ANSWER: dict[str, Any] = {
    "VERSION": 1, "TTL": 60, "RELOAD-URI": URI, "PATHWAY-PRIORITY": ["c", "a", "origin"],
    "PATHWAY-CLONES": [{"BASE-ID": "origin", "ID": "c", "URI-REPLACEMENT": {"HOST": "c"}}],
}  # fmt: skip


def texts(found: list[Finding]) -> str:
    """Findings as one text."""
    return "\n".join(f"{one.where}: {one.text}" for one in found)


@pytest.mark.parametrize("text", [HLS, DASH], ids=["hls", "dash"])
def test_what_we_write_and_answer_is_clean(text: str) -> None:
    """No finding at all; so is what packagers' odd manifests become."""
    listing, found = lint_manifest(text)
    assert found == [] and listing.pathways == ["a", "b", "origin"]
    assert check_answer(json.dumps(ANSWER), listing) == []


def test_odd_manifests_are_clean_when_rewritten() -> None:
    """Subtitles, I-frames, session tags, templates with folders: nothing that stops a player."""
    ways = [way("a", "360p", "audio", "text"), way("b", "360p", "audio", "text")]
    assert lint_manifest(read_multivariant(EXTRAS).render(ways, URI))[1] == []
    assert lint_manifest(read_mpd(TEMPLATES).render(WAYS, URI))[1] == []


@pytest.mark.parametrize(
    ("text", "blame"),
    [
        (HLS.replace('PATHWAY-ID="a"', 'PATHWAY-ID="q"', 1), "starts on pathway 'q'"),
        (HLS.replace('AUDIO="sound@b"', 'AUDIO="sound@a"'), "share the AUDIO group"),
        (HLS.replace('AUDIO="sound@b"', 'AUDIO="none"'), "no AUDIO group 'none'"),
        (HLS.replace("http://b/", "http://b:81/"), "several ports"),
        (HLS.replace("http://b/", "http://aa/"), "a: is a part of aa"),
        (HLS.replace(URI, "/v1/steering"), "not absolute"),
        (HLS.replace('"b"', '"b@1"'), "letters, digits"),
        (MASTER, "no Content Steering"),
        (DASH.replace('defaultServiceLocation="a"', 'defaultServiceLocation="q"'), "'q'"),
        (DASH.replace(' serviceLocation="b"', ""), "no serviceLocation"),
        (MPD, "cannot be steered"),
        (read_mpd(BOUND).render(WAYS, URI), "Shaka keeps the last"),
        ("<!DOCTYPE x><MPD/>", "document type"),
        ("<html>", "neither HLS nor XML"),
    ],
)
def test_traps_in_manifests_are_found(text: str, blame: str) -> None:
    """Each was read in a player's code."""
    assert blame in texts(lint_manifest(text)[1])


def changed(**values: Any) -> str:
    """The good answer with some fields changed (None: taken out)."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    body = {**ANSWER, **named}
    return json.dumps({name: value for name, value in body.items() if value is not None})


def clone(**values: Any) -> str:
    """The good answer with another clone."""
    return changed(PATHWAY_CLONES=[{**ANSWER["PATHWAY-CLONES"][0], **values}])


@pytest.mark.parametrize(
    ("answer", "blame"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        (changed(VERSION=2), "VERSION"),
        (changed(TTL=None), "asks in a loop"),
        (changed(TTL=0), "asks in a loop"),
        (changed(RELOAD_URI="?x"), "Shaka resolves it"),
        (changed(PATHWAY_PRIORITY=[]), "not a list of pathway ids"),
        (changed(PATHWAY_PRIORITY=["x", "y"]), "meets none"),
        (changed(PATHWAY_PRIORITY=["a", "y"]), "'y' is neither"),
        (changed(PATHWAY_PRIORITY=["a"]), "names one only"),
        (changed(PATHWAY_PRIORITY=["a", "a"]), "twice"),
        (clone(**{"BASE-ID": "x"}), "'x' is not listed"),
        (clone(ID="a"), "that of a listed pathway"),
        (clone(**{"URI-REPLACEMENT": {"PARAMS": {}}}), "no HOST"),
        (clone(**{"URI-REPLACEMENT": {"HOST": "c:81"}}), "has a port"),
    ],
)
def test_traps_in_answers_are_found(answer: str, blame: str) -> None:
    """As a player that has the manifest would meet them."""
    assert blame in texts(check_answer(answer, lint_manifest(HLS)[0]))


def test_dash_js_needs_a_port_and_every_representation_a_priority() -> None:
    """It drops the base's port in a clone, and stops where no priority serves."""
    listing, _ = lint_manifest(DASH.replace("http://origin/", "http://origin:81/"))
    assert "no port" in texts(check_answer(json.dumps(ANSWER), listing, wants_port=True))
    partial = read_mpd(MPD).render([way("a", "360p", "audio"), way("b")], URI)
    only_a = changed(PATHWAY_PRIORITY=["a", "x"])
    assert "serves no" in texts(check_answer(only_a, lint_manifest(partial)[0]))


async def test_the_command_asks_a_replica_as_players_do(tmp_path: Path) -> None:
    """Good for what we serve, both protocols, with a clone on offer; 1 and the reason otherwise."""

    async def run(*args: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "steering", "lint", *args, cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    async with running(tmp_path) as replica:
        await report_all(replica)
        found = await asyncio.gather(
            run(f"{replica.url}/v1/play/film.m3u8"),
            run(f"{replica.url}/v1/play/film.mpd"),
            run(str(HERE / "golden" / "broken.mpd")),
            run(f"{replica.url}/v1/play/nothing.mpd"),
        )
        assert [code for code, _ in found] == [0, 0, 1, 1], found
        assert "asked as hls.js, Shaka" in found[0][1] and "dash.js" in found[1][1]
        assert "line 3" in found[2][1] and "404" in found[3][1]
