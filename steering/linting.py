"""`steering lint`: fetches a manifest, asks its steering server as each player would, and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import click

from steering import dash
from steering.asked import Protocols
from steering.catalogue import MANIFEST_BYTES_MAX, Manifest, read_manifest
from steering.lint import Finding, Listing, check_answer
from steering.lint_manifest import lint_manifest
from steering.pathways import ManifestError, Pathway, split_uri

ANSWER_S = 10.0
SAMPLE_URI = "https://steering.example/v1/steering"
# How players ask: name, what they add to the URL, whether they take HOST for host and port.
HLS_FORMS = (("hls.js, Shaka", "_HLS_pathway={0}&_HLS_throughput=5000000", False),)
DASH_FORMS = (
    ("Shaka", "_DASH_pathway={0}&_DASH_throughput=5000000", False),
    ("dash.js", "_DASH_pathway=%22{0}%22&_DASH_throughput=,", True),
)


@click.command()
@click.argument("target")
def lint(target: str) -> None:
    """Prove that a manifest and its steering fit together, for hls.js, dash.js and Shaka.

    \b
    Of a running replica:  steering lint http://steering.example/v1/play/my-film.m3u8
    Of a packager's file:  steering lint encodes/my-film/manifest.mpd

    TARGET is a URL (its steering server is asked as each player asks), or a file. A manifest
    without Content Steering is the origin's: it is rewritten for three pretended boxes, and that
    is checked. Refuses (exit code 1) what would stop a player or a failover; warnings do not.
    """
    is_url = urlsplit(target).scheme in ("http", "https")
    found, said = asyncio.run(_of_url(target)) if is_url else _of_file(Path(target))
    for one in found:
        kind = click.style("error", fg="red") if one.fatal else click.style("warning", fg="yellow")
        click.echo(f"{kind}: {one.where}: {one.text}")
    if any(one.fatal for one in found):
        raise click.exceptions.Exit(1)
    click.echo(f"{target}: good. {said}")


def _of_file(path: Path) -> tuple[list[Finding], str]:
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise click.ClickException(f"{path}: {exc.strerror or exc}") from exc
    text = raw.decode(errors="replace")
    listing, found = lint_manifest(text)
    if listing.server_uri:
        return found, _pathways(listing)
    try:
        manifest = read_manifest(raw, path.name)
        ways = [
            Pathway(
                name, {one: f"https://{name}.example/a/{one};T/" for one in renditions(manifest)}
            )
            for name in ("box-a", "box-b", "origin")
        ]
        listing, found = lint_manifest(manifest.render(manifest.usable(ways), SAMPLE_URI))
    except ManifestError as exc:
        return [Finding(str(path), str(exc))], ""
    return found, "The origin's manifest; rewritten for players it lists " + _pathways(listing)


def renditions(manifest: Manifest) -> list[str]:
    """The rendition folders that an origin's manifest names."""
    if isinstance(manifest, dash.Manifest):
        names = [part.name for part in manifest.parts if isinstance(part, dash.Rendition)]
        return list(dict.fromkeys(names))
    uris = [one.uri for one in (*manifest.variants, *manifest.iframes)]
    uris += [tag["URI"].strip('"') for tag in manifest.media if "URI" in tag]
    return list(dict.fromkeys(parts[0] for uri in uris if (parts := split_uri(uri)) is not None))


async def _of_url(url: str) -> tuple[list[Finding], str]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        status, _, text = await _get(session, url)
        if status != 200:
            raise click.ClickException(f"{url} answered {status}: {text[:300]}")
        listing, found = lint_manifest(text)
        if not listing.server_uri:
            return found, ""
        forms = HLS_FORMS if listing.protocol is Protocols.HLS else DASH_FORMS
        found += await _ask(session, "a player at its start", listing.server_uri, listing)
        for who, form, wants_port in forms:
            for pathway in listing.pathways:
                asked = f"{listing.server_uri}&{form.format(pathway)}"
                found += await _ask(session, who, asked, listing, wants_port=wants_port)
    who = ", ".join(name for name, _, _ in forms)
    return list(dict.fromkeys(found)), f"{_pathways(listing)}; asked as {who}"


async def _ask(
    session: aiohttp.ClientSession,
    who: str,
    url: str,
    listing: Listing,
    *,
    wants_port: bool = False,
) -> list[Finding]:
    """Ask steering as one player, and judge status, headers and body."""
    status, headers, text = await _get(session, url)
    if status != 200:
        return [Finding(f"steering, asked as {who}", f"answered {status}: {text[:200]}")]
    found = check_answer(text, listing, wants_port=wants_port)
    if headers.get("Access-Control-Allow-Origin") != "*":
        found.append(Finding("headers", "no Access-Control-Allow-Origin: no page may read it"))
    if "no-store" not in headers.get("Cache-Control", ""):
        found.append(Finding("headers", "may be cached: it is the answer for one session"))
    return [Finding(f"{one.where}, asked as {who}", one.text, one.fatal) for one in found]


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, str], str]:
    try:
        async with session.get(url) as answer:
            raw = await answer.content.read(MANIFEST_BYTES_MAX)
            while not answer.content.at_eof() and len(raw) < MANIFEST_BYTES_MAX:
                raw += await answer.content.read(MANIFEST_BYTES_MAX - len(raw))
            return answer.status, dict(answer.headers), raw.decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
        raise click.ClickException(f"no answer from {url}: {exc}") from exc


def _pathways(listing: Listing) -> str:
    names: Sequence[str] = listing.pathways
    return f"{len(names)} pathways: {', '.join(names)}"
