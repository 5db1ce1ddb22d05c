"""The files that every server serves, made once: a store as oca has it, served by all alike.

`WORK/store/a/<asset>/{4k,64k,1m,4m}.mp4` for each asset, one more asset with a 1 GiB film, and each
one's catalogue entry. Every file has bytes of its own, so no cache can share them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from wire.catalogue import CHUNK_BYTES, Asset, AssetKind, File
from wire.codec import encode
from wire.keys import new_private_pem, parse_private_key, public_text
from wire.token import Token, mint, scope_of, signed_folder

SIZES = {"4k": 4 * 1024, "64k": 64 * 1024, "1m": 1024**2, "4m": 4 * 1024**2}
FILM = "film"
FILM_BYTES = 1024**3
BLOCK_BYTES = 1024**2
ASSETS_MIN = 1000
RANGE_BYTES = 256 * 1024
RANGES = 8192
TOKEN_LIFE_S = 24 * 3600.0
SECRET = "edge"
"""What nginx's secure_link hashes with; it guards nothing here."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The made files: `assets` of them numbered from 1, and the film's asset after the last."""

    work: Path
    assets: int

    @property
    def root(self) -> Path:
        """What a web server calls its root."""
        return self.work / "store"

    @property
    def film(self) -> int:
        """The asset that holds the film."""
        return self.assets + 1

    def file(self, asset: int, size: str) -> Path:
        """One file on disk."""
        return self.root / "a" / str(asset) / f"{size}.mp4"

    def files(self, size: str) -> list[tuple[int, Path]]:
        """Every file of one size, with its asset."""
        if size == FILM:
            return [(self.film, self.file(self.film, FILM))]
        return [(asset, self.file(asset, size)) for asset in range(1, self.assets + 1)]


def make_tree(work: Path, assets: int) -> Tree:
    """The tree in `work`, made if it is not there in this shape (6.3 GB for 1,000 assets)."""
    tree = Tree(work, assets)
    stamp, shape = work / "tree.json", {"assets": assets, "sizes": SIZES, "film": FILM_BYTES}
    if stamp.exists() and json.loads(stamp.read_text()) == shape:
        return tree
    stamp.unlink(missing_ok=True)
    shutil.rmtree(tree.root, ignore_errors=True)
    for asset in range(1, assets + 1):
        _make_asset(tree, asset, SIZES)
    _make_asset(tree, tree.film, {FILM: FILM_BYTES})
    os.sync()
    stamp.write_text(json.dumps(shape))
    return tree


def _make_asset(tree: Tree, asset: int, sizes: dict[str, int]) -> None:
    folder = tree.root / "a" / str(asset)
    folder.mkdir(parents=True)
    files = tuple(_make_file(tree.file(asset, name), size) for name, size in sizes.items())
    entry = Asset(
        id=asset,
        title=f"title-{asset}",
        name="bench",
        kind=AssetKind.VIDEO,
        modified_s=int(time.time()),
        files=files,
    )
    (folder / ".asset.json").write_bytes(encode(entry))


def _make_file(path: Path, size: int) -> File:
    whole, chunk, chunks = hashlib.sha256(), xxhash.xxh3_128(), []
    in_chunk = 0
    with path.open("wb") as out:
        for block in _blocks(str(path.relative_to(path.parents[2])), size):
            out.write(block)
            whole.update(block)
            chunk.update(block)
            in_chunk += len(block)
            if in_chunk == CHUNK_BYTES:
                chunks.append(chunk.hexdigest())
                chunk, in_chunk = xxhash.xxh3_128(), 0
    if in_chunk:
        chunks.append(chunk.hexdigest())
    return File(
        name=path.name,
        bytes=size,
        sha256=whole.hexdigest(),
        chunks=tuple(chunks),
        media_type="video/mp4",
    )


def _blocks(name: str, size: int) -> Iterator[bytes]:
    """Random bytes of its own for every file; a long one repeats them with a number in front."""
    body = random.Random(name).randbytes(min(size, BLOCK_BYTES))
    for start in range(0, size, BLOCK_BYTES):
        block = start.to_bytes(8, "big") + body[8:]
        yield block[: size - start]


@dataclass(frozen=True, slots=True)
class Paths:
    """How a request spells a file: `plain`, with a `token` (oca), or with a `secure` link (nginx).

    `tokens` holds one RFC 9246 token for every asset: 1,000 assets, 1,000 signatures to check.
    """

    tokens: dict[int, str]
    public_key: str
    expires_s: int

    def spell(self, style: str, asset: int, name: str) -> str:
        """The path of one file in one style."""
        plain = f"/a/{asset}/{name}"
        if style == "token":
            return signed_folder("", asset, self.tokens[asset]) + name
        if style == "secure":
            text = f"{self.expires_s}{plain} {SECRET}"
            digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
            return f"{plain}?md5={_url_base64(digest)}&expires={self.expires_s}"
        return plain


def make_paths(tree: Tree) -> Paths:
    """Fresh keys and tokens, valid for a day: one token for every asset."""
    key = parse_private_key(new_private_pem("es256"), "bench", "benchmark key")
    expires_s = int(time.time() + TOKEN_LIFE_S)
    tokens = {
        asset: mint(Token(exp=expires_s, cdniuc=scope_of([asset]), iss="bench", home="home"), key)
        for asset in range(1, tree.film + 1)
    }
    return Paths(tokens, public_text(key), expires_s)


def _url_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def request_list(tree: Tree, paths: Paths, style: str, size: str) -> Path:
    """A file of requests for wrk and h2load, every file of `size` once in a fixed random order;
    for the film, random ranges of 256 KiB (`path TAB range`)."""
    target = tree.work / "requests" / f"{style}-{size}.txt"
    target.parent.mkdir(exist_ok=True)
    rng = random.Random(size)
    if size == FILM:
        path = paths.spell(style, tree.film, f"{FILM}.mp4")
        starts = (rng.randrange(FILM_BYTES - RANGE_BYTES) for _ in range(RANGES))
        lines = [f"{path}\tbytes={start}-{start + RANGE_BYTES - 1}" for start in starts]
    else:
        lines = [paths.spell(style, asset, path.name) for asset, path in tree.files(size)]
        rng.shuffle(lines)
    target.write_text("\n".join(lines) + "\n")
    return target
