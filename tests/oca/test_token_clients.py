"""A token for one client opens nothing for another, on a hot URL as on a cold one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.oca.running import read_answer, serving
from wire.keys import b64url, new_private_pem, parse_private_key, public_text
from wire.signed import sign
from wire.token import folder_scope
from wire.tokenclient import parse_client_key, sealed

BODY = b"body" * 1000
CLIENT_KEY = "a128kw:" + b64url(b"k" * 16)
OURS, THEIRS = "127.16.0.7", "127.17.0.7"


@pytest.mark.parametrize("how", ["plain", "sealed"])
def test_who_knows_the_url_of_another_client_gets_nothing(tmp_path: Path, how: str) -> None:
    """The first makes the URL as hot as it can be, the second asks in every way there is."""
    root, keys = tmp_path / "root", tmp_path / "tokens.toml"
    (root / "film").mkdir(parents=True)
    (root / "film" / "s-1.m4s").write_bytes(BODY)
    signer = parse_private_key(new_private_pem("es256"), "k1", "key")
    keys.write_text(
        f'token_keys = {{ k1 = "{public_text(signer)}" }}\n'
        f'[tokens]\nclient_keys = {{ c1 = "{CLIENT_KEY}" }}\n'
    )
    network = f"{OURS}/24"
    client = network if how == "plain" else sealed(network, parse_client_key(CLIENT_KEY, ""), "c1")
    claims = {
        "exp": time.time() + 60,
        "cdniuc": folder_scope("http://h/film/x"),
        "cdniip": client,
    }
    token = sign(json.dumps(claims).encode(), signer, "JWT").decode()
    args = ("--root", str(root), "--token-keys", str(keys), "--listen", "127.0.0.1:0")
    with serving(tmp_path, *args, "--workers", "1") as oca:
        line = f"GET /film;URISigningPackage={token}/s-1.m4s HTTP/1.1\r\nHost: h\r\n"

        def ask(source: str, times: int, more: str = "") -> list[int]:
            with oca.connect(source) as sock:
                stream = sock.makefile("rb")
                statuses = []
                for _ in range(times):
                    sock.sendall(f"{line}{more}\r\n".encode())
                    statuses.append(read_answer(stream).status)
                return statuses

        assert ask(OURS, 5) == [200] * 5
        assert ask(OURS, 2, "Range: bytes=0-9\r\n") == [206] * 2
        for more in ("", "Range: bytes=0-9\r\n", "If-Match: *\r\n", "X: y\r\n"):
            assert ask(THEIRS, 2, more) == [403] * 2
        assert ask(OURS, 2) == [200] * 2
        assert "token_foreign_client" in oca.log.read_text()
        assert network not in oca.log.read_text()
