"""A new signing key: nights go on, and the purge list stays in force under it."""

from __future__ import annotations

import pytest

from fill.catalogue import Snapshot
from tests.fill.ground import Ground, kill
from wire.errors import AuthError
from wire.keys import VerifyKey, new_private_pem, parse_private_key, public_text
from wire.plan import open_purge


async def test_the_purge_list_outlives_the_key_that_signed_it(
    ground: Ground, snapshot: Snapshot
) -> None:
    """Without the former key's public half the file at fault is named, and what to do; with it
    boxes get the list under the new key alone."""
    asset = max(snapshot.entries)
    ground.fill("purge", str(asset))
    former = ground.files.own_keys()
    old = public_text(ground.files.signing_key())
    pem = new_private_pem("ed25519")
    (ground.folder / "keys" / "new.pem").write_bytes(pem)
    text = ground.config.read_text().replace("keys/fill.pem", "keys/new.pem")
    ground.config.write_text(f'kid = "new"\n{text}')
    refused = ground.fill("purge", "--status", check=False)
    assert refused.returncode == 1 and "purge.jws" in refused.stderr
    assert "former_keys" in refused.stderr
    ground.config.write_text(f'kid = "new"\nformer_keys = {{ fill = "{old}" }}\n{text}')
    ground.fill("plan", "--dry-run")
    process = ground.serve()
    try:
        _, raw, headers = await ground.call("GET", "/v1/purge", "a1")
    finally:
        kill(process)
    key = parse_private_key(pem, "new", "new")
    assert headers["ETag"] == '"1"'
    assert open_purge(raw, {"new": VerifyKey(key.alg, key.key)}).assets == (asset,)
    with pytest.raises(AuthError):
        open_purge(raw, former)
