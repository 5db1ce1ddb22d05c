"""Signed tokens, cached per title, home site and time bucket, so that signing costs little. Pure.

A token says nothing about a person, so one serves every session of a title within its bucket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from wire.catalogue import Title, TitleAsset
from wire.errors import UnavailableError
from wire.keys import SigningKey
from wire.token import PATTERN_CHARS_MAX, Token, mint, scope_of

_What = tuple[str, str, int]
"""Title, home site, time bucket; for our own fetches no title, and the manifest's number."""

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
        self._made: OrderedDict[_What, tuple[Sequence[TitleAsset | int], str]] = OrderedDict()
        self.signed = 0

    def for_title(self, title: Title, home: str, now_s: float) -> str:
        """The token for all assets of a title; `now_s` in Unix seconds.

        Raises UnavailableError for a title of so many assets that appliances would not read it.
        """
        what = (title.id, home, int(now_s // self._rules.bucket_s))
        made = self._made.get(what)
        # A catalogue that is polled again brings the same title as another object.
        if made is not None and (made[0] is title.assets or made[0] == title.assets):
            return made[1]
        return self._keep(what, title.assets, [asset.id for asset in title.assets])

    def for_manifest(self, asset: int, now_s: float) -> str:
        """Steering's own token, to fetch a title's manifests from the origin."""
        what = ("", str(asset), int(now_s // self._rules.bucket_s))
        made = self._made.get(what)
        return made[1] if made is not None else self._keep(what, (asset,), (asset,))

    def _keep(self, what: _What, assets: Sequence[TitleAsset | int], numbers: Sequence[int]) -> str:
        token = self._mint(what, numbers)
        self._made[what] = assets, token
        if len(self._made) > CACHE_MAX:
            self._made.popitem(last=False)
        return token

    def _mint(self, what: _What, assets: Sequence[int]) -> str:
        """A token of one bucket: it outlives the bucket's end by the whole life of a session."""
        title, home, bucket = what
        begin_s = bucket * self._rules.bucket_s
        scope = scope_of(assets)
        if len(scope) > PATTERN_CHARS_MAX:
            raise UnavailableError(f"the title of asset {max(assets)} has too many for a token")
        self.signed += 1
        token = Token(
            iss=self._rules.issuer,
            iat=begin_s,
            exp=begin_s + self._rules.bucket_s + self._rules.life_s,
            jti=f"{bucket:x}-{xxhash.xxh3_64_hexdigest(f'{title} {home} {scope}'.encode())}",
            cdniuc=scope,
            home=home if title else "",
            sub="" if title else self._rules.issuer,
        )
        return mint(token, self._key)
