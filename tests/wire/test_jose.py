"""Our own JWS and joserfc's are the same texts, and only what was signed is proven."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from wire.jose import JwsError, UnknownKeyError, proven, sign
from wire.keys import (
    SigningKey,
    VerifyKey,
    b64url,
    new_private_pem,
    parse_private_key,
    parse_verify_key,
    public_text,
)

SIGNERS = {
    "EdDSA": parse_private_key(new_private_pem("ed25519"), "k", "key"),
    "ES256": parse_private_key(new_private_pem("es256"), "k", "key"),
    "HS256": SigningKey("HS256", OctKey.import_key(b"s" * 32), "k"),
}
ALGS = sorted(SIGNERS)


def public(signer: SigningKey) -> VerifyKey:
    """What a verifier has."""
    if signer.alg == "HS256":
        return VerifyKey(signer.alg, signer.key)
    return parse_verify_key(public_text(signer), "key")


@pytest.mark.parametrize("alg", ALGS)
@given(payload=st.binary(max_size=300))
def test_each_reads_what_the_other_wrote(alg: str, payload: bytes) -> None:
    """The format is RFC 7515's, whoever wrote it."""
    signer = SIGNERS[alg]
    ours = sign(payload, signer)
    assert jws.deserialize_compact(ours, signer.key, algorithms=[alg]).payload == payload
    header = {"alg": alg, "kid": "k", "typ": "JWT"}
    theirs = jws.serialize_compact(header, payload, signer.key, algorithms=[alg])
    assert ours.rpartition(".")[0] == theirs.rpartition(".")[0]
    assert proven(theirs, {"k": public(signer)}) == ("k", payload)


@pytest.mark.parametrize("alg", ALGS)
@given(data=st.data())
def test_what_joserfc_refuses_we_refuse(alg: str, data: st.DataObject) -> None:
    """One character changed anywhere: we are never the more generous reader."""
    signer = SIGNERS[alg]
    text = sign(b'{"iss":"k","exp":1}', signer)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_.=+/ \u00e9"))
    other = text[:place] + letter + text[place + 1 :]
    try:
        kid, payload = proven(other, {"k": public(signer)})
    except JwsError:
        return
    try:
        read = jws.deserialize_compact(other, signer.key, algorithms=[alg])
    except (JoseError, ValueError) as exc:
        raise AssertionError(f"{other!r} was taken") from exc
    assert (kid, payload) == ("k", read.payload)


@pytest.mark.parametrize("more", [{"crit": ["exp"], "exp": 1}, {"b64": False}])
def test_an_extension_that_changes_the_meaning_is_refused(more: dict[str, object]) -> None:
    """What we do not understand is not passed over (RFC 7515 §4.1.11, RFC 7797)."""

    signer = SIGNERS["HS256"]
    good = sign(b"{}", signer)
    header = b64url(json.dumps({"alg": "HS256", "kid": "k", **more}).encode())
    with pytest.raises(JwsError):
        proven(f"{header}.{good.partition('.')[2]}", {"k": public(signer)})


def test_a_key_serves_one_algorithm_and_a_stranger_s_key_none() -> None:
    """A public key is no shared secret (RFC 8725 §3.1); whose key is unknown is told apart."""
    text = sign(b"{}", SIGNERS["HS256"])
    with pytest.raises(JwsError, match="algorithm"):
        proven(text, {"k": public(SIGNERS["EdDSA"])})
    with pytest.raises(UnknownKeyError):
        proven(text, {})
