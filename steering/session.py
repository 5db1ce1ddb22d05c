"""What a player's session carries from answer to answer, sealed: nobody else can write it. Pure.

Replicas keep no sessions, so the RELOAD-URI does: what the player's manifest lists, and which of
it may be cloned. The seal is a keyed hash (BLAKE2b, RFC 7693) under a secret that every replica
derives from the key that signs URLs. Nothing in it says who somebody is.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

import xxhash

from wire.errors import WireError
from wire.keys import b64url, unb64url

STATE_CHARS_MAX = 160  # a version, four numbers and a site's id of 63 letters make 128
SEAL_BYTES = 16  # 2^128 guesses; a forged one could only ask for boxes that anybody may ask for
SECRET_BYTES = 32
PURPOSE = b"oca steering session"
_VERSION = 1
_FIXED = struct.Struct(">BIQIB")  # version, begun (Unix s), key, assets' digest, base
_NO_BASE = 255


class Standing(Enum):
    """What became of the state that a player sent; the name is the metric's label."""

    NEW = "new"  # it sent none
    KNOWN = "known"
    FOREIGN = "foreign"  # changed on the way, of another key, or no state at all
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Session:
    """One viewing of one title. `listed` are its manifest's pathways, `base` the one of them that
    holds everything (clones are made from it), `assets` the digest of what the manifest was made
    of, `key` what spreads sessions over boxes, `begun_s` Unix seconds."""

    title: str
    listed: tuple[str, ...]
    home: str
    key: int
    assets: int
    begun_s: int
    base: str | None = None


class Seals:
    """Makes and reads the state in RELOAD-URIs."""

    def __init__(self, secret: bytes, life_s: float) -> None:
        """`secret` is the same in every replica; `life_s` is how long a manifest's URLs live."""
        self._secret, self._life_s = secret, life_s

    def seal(self, session: Session) -> str:
        """A session as text for a URL, at most STATE_CHARS_MAX characters."""
        base = _NO_BASE if session.base is None else session.listed.index(session.base)
        fixed = _FIXED.pack(_VERSION, session.begun_s, session.key, session.assets, base)
        body = fixed + session.home.encode()
        return b64url(body + self._tag(session.title, session.listed, body))

    def read(
        self, text: str, title: str, listed: Sequence[str], unix_s: float
    ) -> tuple[Standing, Session | None]:
        """The session in `text`, if it is ours, of this title and manifest, and not too old."""
        if not text:
            return Standing.NEW, None
        if len(text) > STATE_CHARS_MAX:
            return Standing.FOREIGN, None
        try:
            raw = unb64url(text, "state")
        except WireError:
            return Standing.FOREIGN, None
        body, tag = raw[:-SEAL_BYTES], raw[-SEAL_BYTES:]
        if not hmac.compare_digest(tag, self._tag(title, listed, body)):
            return Standing.FOREIGN, None
        session = _unpack(body, title, tuple(listed))
        if session is None:
            return Standing.FOREIGN, None
        if unix_s > session.begun_s + self._life_s:
            return Standing.EXPIRED, None
        return Standing.KNOWN, session

    def _tag(self, title: str, listed: Sequence[str], body: bytes) -> bytes:
        # Neither ids nor titles contain the separators.
        said = f"{title}\n{','.join(listed)}\n".encode() + body
        return blake2b(said, digest_size=SEAL_BYTES, key=self._secret).digest()


def _unpack(body: bytes, title: str, listed: tuple[str, ...]) -> Session | None:
    """A body whose seal was good; None for another version of it."""
    if len(body) < _FIXED.size or body[0] != _VERSION:
        return None
    _, begun_s, key, assets, base = _FIXED.unpack_from(body)
    if base != _NO_BASE and base >= len(listed):
        return None
    return Session(
        title=title,
        listed=listed,
        home=body[_FIXED.size :].decode("ascii", "replace"),
        key=key,
        assets=assets,
        begun_s=begun_s,
        base=None if base == _NO_BASE else listed[base],
    )


def digest_of(assets: Iterable[int]) -> int:
    """32 bits that tell one set of assets from another: a title that was encoded anew has others,
    and a manifest of the old ones must not be cloned to a box that holds the new ones."""
    return xxhash.xxh32_intdigest(",".join(map(str, sorted(assets))).encode())
