"""The state in RELOAD-URIs: only ours is believed, all is bounded, and nothing raises."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.session import STATE_CHARS_MAX, Seals, Session, Standing, digest_of
from wire.keys import derived_secret, new_private_pem, parse_private_key, unb64url

LIFE_S = 1000.0
SEALS = Seals(b"s" * 32, LIFE_S)
LISTED = ("a1", "x1", "origin")
SESSION = Session("film", LISTED, "isp-a", 2**64 - 1, 2**32 - 1, 1_700_000_000, "origin")
NOW_S = SESSION.begun_s + 10.0


def read(text: str, title: str = "film", listed: tuple[str, ...] = LISTED) -> Session | None:
    """What a replica believes of a state; it must not raise."""
    standing, session = SEALS.read(text, title, listed, NOW_S)
    assert (standing is Standing.KNOWN) == (session is not None)
    return session


@pytest.mark.parametrize(
    "session",
    [SESSION, replace(SESSION, base=None, home="", key=0, assets=0)],
    ids=["full", "bare"],
)
def test_what_was_sealed_is_read_again_by_any_replica_with_the_key(session: Session) -> None:
    """Replicas keep no sessions: the secret comes from the key that signs URLs."""
    assert read(SEALS.seal(session)) == session
    for alg in ("es256", "ed25519"):
        pem = new_private_pem(alg)
        one, other = (
            Seals(derived_secret(parse_private_key(pem, "k", "k"), b"p"), 9) for _ in "ab"
        )
        standing, found = other.read(one.seal(session), "film", LISTED, session.begun_s)
        assert found == session and standing is Standing.KNOWN


def test_the_longest_state_fits_and_a_longer_one_is_not_even_read() -> None:
    """A site's id has 63 letters at most."""
    longest = SEALS.seal(replace(SESSION, home="s" * 63))
    assert len(longest) <= STATE_CHARS_MAX
    assert SEALS.read("A" * 10**6, "film", LISTED, NOW_S) == (Standing.FOREIGN, None)


def test_a_state_of_another_title_manifest_or_key_is_foreign() -> None:
    """Moving a state to another URL makes it a stranger's."""
    text = SEALS.seal(SESSION)
    assert read(text, title="other") is None
    assert read(text, listed=("a1", "origin")) is None
    assert read(text, listed=("x1", "a1", "origin")) is None
    assert Seals(b"t" * 32, LIFE_S).read(text, "film", LISTED, NOW_S)[0] is Standing.FOREIGN
    assert SEALS.read("", "film", LISTED, NOW_S) == (Standing.NEW, None)


def test_every_single_changed_letter_is_noticed() -> None:
    """Tampering with any of them makes it foreign."""
    text = SEALS.seal(SESSION)
    for at, letter in enumerate(text):
        other = "A" if letter != "A" else "B"
        changed = text[:at] + other + text[at + 1 :]
        if unb64url(changed, "") != unb64url(text, ""):  # the last letter has bits to spare
            assert read(changed) is None, at


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_=.%\0é", max_size=200))
def test_no_text_is_an_error(text: str) -> None:
    """Whatever stands there, the answer is given as to a new session."""
    assert read(text) is None


def test_it_expires_with_the_urls_of_its_manifest() -> None:
    """The second after, it is expired and not merely unknown: the player must load anew."""
    text = SEALS.seal(SESSION)
    last_s = SESSION.begun_s + LIFE_S
    assert SEALS.read(text, "film", LISTED, last_s)[0] is Standing.KNOWN
    assert SEALS.read(text, "film", LISTED, last_s + 1) == (Standing.EXPIRED, None)


def test_digest_tells_sets_of_assets_apart_and_knows_no_order() -> None:
    """A thousand different sets, a thousand digests."""
    rng = random.Random(5)
    sets = {frozenset(rng.sample(range(10**6), 8)) for _ in range(1000)}
    assert len({digest_of(one) for one in sets}) == len(sets)
    assert digest_of([3, 1, 2]) == digest_of((1, 2, 3)) != digest_of([12, 3])
