"""Signed tokens, cached per title, home site and time bucket, so that signing costs little. Pure.

A token says nothing about a person, so one serves every session of a title within its bucket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import xxhash

from wire.catalogue import Title
from wire.errors import UnavailableError
from wire.keys import SigningKey
from wire.token import PATTERN_CHARS_MAX, Token, mint, scope_of

CACHE_MAX = 50_000  # ~600 bytes each: 30 MB holds the hour's titles of every home site


@dataclass(frozen=True, slots=True)
class TokenRules:
    """How tokens are made: who issues them, how long a bucket is, and how long one lives after it
    (seconds)."""

    issuer: str
    bucket_s: float
    life_s: float


class TokenMint:
    """Makes and remembers tokens. Every replica with the same key makes equally good ones."""

    def __init__(self, key: SigningKey, rules: TokenRules) -> None:
        """`key.kid` must be known to the appliances (`token_keys`)."""
        self._key, self._rules = key, rules
        self._made: OrderedDict[tuple[str, str, int, int], str] = OrderedDict()
        self.signed = 0

    def for_title(self, title: Title, home: str, now_s: float) -> str:
        """The token for all assets of a title; `now_s` in Unix seconds.

        Raises UnavailableError for a title of so many assets that appliances would not read it.
        """
        ids = [asset.id for asset in title.assets]
        return self._cached((title.id, home, max(ids, default=0)), ids, now_s)

    def for_manifest(self, asset: int, now_s: float) -> str:
        """Steering's own token, to fetch a title's manifests from the origin."""
        return self._cached(("", "", asset), [asset], now_s)

    def _cached(self, what: tuple[str, str, int], assets: Iterable[int], now_s: float) -> str:
        bucket = int(now_s // self._rules.bucket_s)
        key = (*what, bucket)
        made = self._made.get(key)
        if made is None:
            made = self._mint(what, assets, bucket)
            self._made[key] = made
            if len(self._made) > CACHE_MAX:
                self._made.popitem(last=False)
        return made

    def _mint(self, what: tuple[str, str, int], assets: Iterable[int], bucket: int) -> str:
        """A token of one bucket: it outlives the bucket's end by the whole life of a session."""
        begin_s = bucket * self._rules.bucket_s
        _, home, _ = what
        scope = scope_of(assets)
        if len(scope) > PATTERN_CHARS_MAX:
            raise UnavailableError(f"the title of asset {what[2]} has too many assets for a token")
        self.signed += 1
        token = Token(
            iss=self._rules.issuer,
            iat=begin_s,
            exp=begin_s + self._rules.bucket_s + self._rules.life_s,
            jti=f"{bucket:x}-{xxhash.xxh3_64_hexdigest(repr(what).encode())}",
            cdniuc=scope,
            home=home,
            sub="" if what[0] else self._rules.issuer,
        )
        return mint(token, self._key)
