"""Signed URIs over real servers: a plain folder with its keys, chains of tokens, rotation."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oca.settings import FolderSettings
from tests.oca.running import Oca, read_answer, serving, wait_until
from tests.oca.test_appliance import Box
from tests.typed import typed
from wire.errors import WireError
from wire.keys import (
    SigningKey,
    b64url,
    new_private_pem,
    parse_private_key,
    parse_verify_key,
    public_text,
)
from wire.signed import sign
from wire.token import Token, folder_scope, mint

CONTENT = {"film/master.m3u8": b"#EXTM3U\n", "film/v1/s-1.m4s": b"one" * 999,
           "show/s-1.m4s": b"two" * 999, "top.mp4": b"top" * 999}  # fmt: skip
SECRET = "hs256:" + b64url(b"s" * 32)
GOOD = f'token_keys = {{ k1 = "{SECRET}" }}\n'
CLIENT_KEY = "a256gcm:" + b64url(b"k" * 32)


def oca_says(*args: str | Path) -> str:
    """What the command prints; fails when the command does."""
    done = typed("oca", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Folder:
    """A served folder and the files of its keys."""

    def __init__(self, top: Path) -> None:
        self.top, self.root, self.keys = top, top / "root", top / "tokens.toml"
        for name, content in CONTENT.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(content)
        oca_says("keygen", self.keys, "--kind", "hs256", "--kid", "shop")
        self.pem = top / "k2.pem"
        self.pem.write_bytes(new_private_pem("es256"))
        self.signer = parse_private_key(self.pem.read_bytes(), "k2", "key")
        told = self.keys.read_text().rstrip(" }\n") + f', k2 = "{public_text(self.signer)}" }}\n'
        told += '[tokens]\nissuers = { k2 = "us" }\naudience = ["cdn"]\n'
        told += f'client_keys = {{ c1 = "{CLIENT_KEY}" }}\n'
        self.keys.write_text(told)

    def claims(self, **claims: object) -> str:
        """A token for the film, signed with ES256 by `us`."""
        known = {"exp": time.time() + 60, "cdniuc": folder_scope("http://test/film/x"), **claims}
        return sign(json.dumps(known).encode(), self.signer, "JWT").decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def oca(folder: Folder) -> Iterator[Oca]:
    args = ("--root", str(folder.root), "--token-keys", str(folder.keys))
    with serving(folder.top, *args, "--listen", "127.0.0.1:0", "--workers", "1") as running:
        yield running


def target(url: str) -> str:
    """What a player that knows `url` sends as its request target."""
    parts = urlsplit(url)
    return parts.path + ("?" + parts.query if parts.query else "")


def ask(oca: Oca, path: str, host: str = "test", source: str | None = None, *lines: str) -> int:
    """The status of a GET on a connection of its own."""
    with oca.connect(source) as sock:
        head = "".join(f"{line}\r\n" for line in (f"Host: {host}", *lines))
        sock.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        return read_answer(sock.makefile("rb")).status


def test_a_signed_url_opens_its_folder_and_what_playlists_name_in_it(
    folder: Folder, oca: Oca
) -> None:
    """`oca sign`, then what a player asks: relative URLs inherit the token, others are closed."""
    url = oca_says("sign", "--token-keys", folder.keys, "http://test/film/master.m3u8")
    assert oca.get(target(url)).body == CONTENT["film/master.m3u8"]
    segment = target(url).replace("master.m3u8", "v1/s-1.m4s")
    assert oca.get(segment).body == CONTENT["film/v1/s-1.m4s"]
    assert oca.get(segment + "?CMCD=ot%3Dv").status == 200
    assert oca.get(segment, "Range: bytes=0-9").status == 206
    assert oca.get(segment.replace("film", "show").replace("v1/", "")).status == 403
    assert ask(oca, segment, host="other") == 403
    for path in CONTENT:
        assert oca.get("/" + path).status == 403
    assert oca.get("/nothing").status == 403


def test_only_this_url_or_a_file_at_the_top(folder: Folder, oca: Oca) -> None:
    """By hash (RFC 6920), in the query; a file at the top has no folder part."""
    url = oca_says("sign", "--token-keys", folder.keys, "--only", "http://TEST/film/v1/s-1.m4s")
    assert oca.get(target(url)).status == 200
    assert oca.get(target(url).replace("v1/s-1.m4s", "master.m3u8")).status == 403
    assert oca.get(target(url) + "&CMCD=x").status == 403
    top = oca_says("sign", "--token-keys", folder.keys, "http://test:80/top.mp4")
    assert ask(oca, target(top), host="test:80") == 200


def test_another_private_key_signs_as_well(folder: Folder, oca: Oca) -> None:
    """ES256 beside HS256: the server holds a public half only."""
    url = oca_says("sign", "--key", folder.pem, "--kid", "k2", "http://test/film/master.m3u8")
    assert oca.get(target(url)).status == 200


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "other"}, "token_foreign_audience"),
        ({"iss": "them"}, "token_foreign_issuer"),
        ({"cdniv": 2}, "token_unknown_version"),
        ({"cdnicrit": "shiny"}, "token_unsupported_claim"),
        ({"exp": 1}, "token_expired"),
        ({"nbf": 4e9}, "token_not_yet_valid"),
        ({"cdniuc": "regex:(a+)+"}, "token_pattern_refused"),
        ({"cdniuc": "regex:https?://test/show/.*"}, "token_foreign_uri"),
        ({"cdniip": "a.b.c.d.e"}, "token_client_unreadable"),
        ({"cdniip": "192.0.2.7"}, "token_foreign_client"),
        ({"cdnistt": 1, "cdniets": 30}, "token_not_renewable_here"),
        ({"cdnistt": 2, "cdniets": 30}, "token_not_renewable_here"),
    ],
)
def test_what_a_claim_forbids_is_refused_and_the_log_says_why(
    folder: Folder, oca: Oca, claims: dict[str, object], reason: str
) -> None:
    """403 with the same words as for no token at all."""
    token = folder.claims(**claims)
    before = oca.log.read_text().count(reason)

    def is_told() -> bool:
        time.sleep(0.2)  # it takes so many refusals a second
        got = oca.get(f"/film;URISigningPackage={token}/master.m3u8")
        assert (got.status, got.body) == (403, nothing)
        return oca.log.read_text().count(reason) > before

    nothing = oca.get("/film/master.m3u8").body
    wait_until(is_told, "the log")
    assert token not in oca.log.read_text()


def test_a_token_of_all_claims_opens(folder: Folder, oca: Oca) -> None:
    """In the path, in the query, in a cookie."""
    token = folder.claims(
        iss="us", aud=["other", "cdn"], nbf=1, iat=1, jti="x", cdniv=1, sub="a.b.c.d.e"
    )
    assert oca.get(f"/film;URISigningPackage={token}/master.m3u8").status == 200
    assert oca.get(f"/film/master.m3u8?a=b&URISigningPackage={token}&c").status == 200
    assert oca.get("/film/master.m3u8", f"Cookie: a=b; URISigningPackage={token}").status == 200
    assert oca.get("/%66ilm/master.m3u8", f"Cookie: URISigningPackage={token}").status == 200


def test_a_hostile_pattern_hangs_nobody(folder: Folder, oca: Oca) -> None:
    """Signed by a trusted signer, asked for with the text it hates; others are served meanwhile."""
    begin_s = time.monotonic()
    for pattern in ("(a+)+b", "http://test/(.*a){20}b", ".*.*.*.*b", "(a|a)*b"):
        token = folder.claims(cdniuc="regex:" + pattern)
        assert oca.get(f"/{'a' * 3000}?URISigningPackage={token}").status == 403
    widest = folder.claims(cdniuc="regex:.*(ab?)*c")
    assert oca.get(f"/{'a' * 1900}?URISigningPackage={widest}").status == 403
    assert time.monotonic() - begin_s < 20


# --- chains --------------------------------------------------------------------------------------


def test_a_chain_of_cookies_carries_a_player_beyond_its_first_token(
    folder: Folder, oca: Oca
) -> None:
    """§3: each answer brings the next token; who stops asking has to begin anew."""
    url = oca_says(
        "sign", "--token-keys", folder.keys, "--life", "2", "--renew", "3",
        "http://test/film/master.m3u8",
    )  # fmt: skip
    got = oca.get(target(url))
    cookie, _, rest = got.fields["set-cookie"].partition("; ")
    assert got.status == 200
    assert rest == "Path=/film; Max-Age=3; HttpOnly"
    assert got.fields["cache-control"].startswith("private")
    for _ in range(3):
        time.sleep(1.1)
        got = oca.get("/film/v1/s-1.m4s", f"Cookie: {cookie}", "Range: bytes=0-9")
        assert got.status == 206
        cookie, before = got.fields["set-cookie"].partition("; ")[0], cookie
        assert cookie != before
    assert oca.get(target(url)).status == 403  # the first one is over
    assert oca.get("/show/s-1.m4s", f"Cookie: {cookie}").status == 403
    time.sleep(3.2)
    assert oca.get("/film/v1/s-1.m4s", f"Cookie: {cookie}").status == 403


# --- keys ----------------------------------------------------------------------------------------


def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    """Old and new side by side, then the old one gone; a broken file changes nothing."""
    folder = Folder(tmp_path)
    keys = tmp_path / "rotating.toml"
    lines = {kid: f'{kid} = "hs256:{b64url(kid.encode() * 16)}"' for kid in ("k1", "k2")}

    def write(*kids: str) -> None:
        keys.write_text("token_keys = {" + ", ".join(lines[kid] for kid in kids) + "}\n")

    def signed(kid: str) -> str:
        shared = parse_verify_key("hs256:" + b64url(kid.encode() * 16), "key")
        scope = folder_scope("http://test/film/x")
        token = Token(exp=time.time() + 60, cdniuc=scope)
        package = mint(token, SigningKey("HS256", shared.key, kid))
        return f"/film;URISigningPackage={package}/master.m3u8"

    write("k1")
    args = ("--root", str(folder.root), "--token-keys", str(keys), "--listen", "127.0.0.1:0")
    with serving(tmp_path, *args, "--workers", "1") as running:

        def statuses() -> tuple[int, int]:
            return running.get(signed("k1")).status, running.get(signed("k2")).status

        assert statuses() == (200, 403)
        for kids, expected in ((("k1", "k2"), (200, 200)), (("k2",), (403, 200))):
            write(*kids)
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda expected=expected: statuses() == expected, f"keys {kids}")
        keys.write_text("token_keys = {}\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload refused" in running.log.read_text(), "the refusal")
        assert statuses() == (403, 200)


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("", "token_keys"),
        ("token_keys = {}", "no key"),
        ('token_keys = { k1 = "hs256:short" }', "token_keys.k1"),
        (GOOD + '[tokens]\nclient_keys = { c1 = "a128gcm:AA" }', "client_keys.c1"),
        (GOOD + "issuers = {}", "issuers"),
    ],
)
def test_a_bad_file_of_keys_is_blamed_before_anything_is_served(
    tmp_path: Path, text: str, blamed: str
) -> None:
    """The file and the setting, never the key."""
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(WireError, match=blamed) as caught:
        FolderSettings(tmp_path, path)
    assert SECRET[6:] not in str(caught.value)


def test_a_box_of_a_fleet_takes_no_shared_secret(tmp_path: Path) -> None:
    """It would let every box sign for all of them; and check-config shows no secret."""
    box = Box(tmp_path)
    path = box.config(token_keys=f'{{ k1 = "{SECRET}" }}')
    done = typed("oca", "check-config", path)
    assert done.returncode == 1
    assert "token_keys.k1" in done.stderr
    alone = path.read_text().replace('[agent]\nkey_file = "key.pem"', "")
    path.write_text(alone + f'[tokens]\nclient_keys = {{ c1 = "{CLIENT_KEY}" }}\n')
    said = oca_says("check-config", path)
    assert SECRET[6:] not in said
    assert CLIENT_KEY[8:] not in said
