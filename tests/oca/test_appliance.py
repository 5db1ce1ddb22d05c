"""The data plane of a configured appliance: who is served, and what is counted for whom."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oca.counters import Generation, read_tables
from oca.metrics import totals
from oca.state import PEERS_FILE, Peers
from tests.oca.running import Oca, children_of, read_answer, serving, wait_until
from wire.auth import bearer
from wire.catalogue import Asset, AssetKind, File
from wire.codec import encode
from wire.keys import SigningKey, new_private_pem, parse_private_key, public_text
from wire.log import client_prefix
from wire.token import Token, mint, scope_of

BIG_BYTES = 30_000_000
SMALL = b"small" * 1000
TCP_BYTES_RECEIVED_AT = 128  # struct tcp_info, linux/tcp.h: tcpi_bytes_received


class Box:
    """An appliance's folders and keys; assets 7 and 8 are stored, 9 is on its way in."""

    def __init__(self, top: Path) -> None:
        self.top, self.store, self.run = top, top / "store", top / "run"
        self.run.mkdir(parents=True)
        self.signer = parse_private_key(new_private_pem("es256"), "k1", "token key")
        self.peer = parse_private_key(new_private_pem(), "b2", "peer key")
        own = new_private_pem()
        (top / "key.pem").write_bytes(own)
        self.big = os.urandom(1_000_000) * (BIG_BYTES // 1_000_000)
        for asset in (7, 8):
            self.put(asset, {"seg-1.m4s": SMALL, "all.mp4": self.big})
        (self.store / "incoming" / "9").mkdir(parents=True)
        (self.store / "incoming" / "9" / "seg-1.m4s").write_bytes(SMALL)
        self.tell(("127.16.0.0/16",))

    def put(self, asset: int, files: dict[str, bytes]) -> None:
        folder = self.store / "a" / str(asset)
        folder.mkdir(parents=True)
        listed = []
        for name, content in files.items():
            (folder / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            listed.append(
                File(
                    name=name,
                    bytes=len(content),
                    sha256=digest,
                    chunks=("0" * 32,),
                    media_type="video/mp4",
                )
            )
        entry = Asset(
            id=asset,
            title="film",
            name="v1",
            kind=AssetKind.VIDEO,
            modified_s=1_700_000_000,
            files=tuple(listed),
        )
        (folder / ".asset.json").write_bytes(encode(entry))

    def tell(self, prefixes: tuple[str, ...] | None) -> None:
        """As the agent does: the file, then the word."""
        peers = Peers(site="s1", prefixes=prefixes, peers={"b2": public_text(self.peer)})
        (self.run / PEERS_FILE).write_bytes(encode(peers))
        Generation(self.run).raise_word()

    def config(self, **changes: str) -> Path:
        path = self.top / "box.toml"
        lines = {
            "id": '"a1"',
            "store": '"store"',
            "run": '"run"',
            "listen": '"127.0.0.1:0"',
            "workers": "1",
            "token_keys": f'{{ k1 = "{public_text(self.signer)}" }}',
            **changes,
        }
        text = "\n".join(f"{k} = {v}" for k, v in lines.items())
        path.write_text(text + '\n[agent]\nkey_file = "key.pem"\n[timeouts]\nsend_stalled_s = 2\n')
        return path

    def token(self, *assets: int, life_s: float = 60, home: str = "isp-a", **claims: float) -> str:
        now_s = time.time()
        token = Token(exp=now_s + life_s, cdniuc=scope_of(assets), home=home, **claims)  # type: ignore[arg-type]
        return mint(token, self.signer)

    def counted(self) -> dict[tuple[int, str], int]:
        total: dict[tuple[int, str], int] = {}
        for table in read_tables(self.run):
            for key, value in table.rows.items():
                total[key] = total.get(key, 0) + value
        return {key: value for key, value in total.items() if value}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return Box(tmp_path_factory.mktemp("box"))


@pytest.fixture(scope="module")
def oca(box: Box) -> Iterator[Oca]:
    with serving(box.top, "--config", str(box.config())) as running:
        yield running


INSIDE, OUTSIDE = "127.16.5.5", "127.17.5.5"


def signed(asset: int, token: str, name: str = "seg-1.m4s") -> str:
    return f"/a/{asset};URISigningPackage={token}/{name}"


def test_a_token_opens_the_assets_it_names_and_no_others(oca: Oca, box: Box) -> None:
    """In the path, the query or a cookie; the answer carries the catalogue's facts."""
    token = box.token(7)
    got = oca.get(signed(7, token), source=INSIDE)
    assert (got.status, got.body) == (200, SMALL)
    assert got.fields["etag"] == f'"{hashlib.sha256(SMALL).hexdigest()[:32]}"'
    assert got.fields["content-type"] == "video/mp4"
    assert "immutable" in got.fields["cache-control"]
    assert got.fields["cache-status"] == "a1; hit"
    query = f"/a/7/seg-1.m4s?x=1&URISigningPackage={token}"
    assert oca.get(query, source=INSIDE).status == 200
    assert oca.get(signed(7, token) + "?CMCD=ot%3Dv", source=INSIDE).status == 200  # CTA-5004
    assert oca.get(signed(8, token) + "?/a/7/seg-1.m4s", source=INSIDE).status == 403
    assert oca.get(f"/a/7/seg-1.m4s?URISigningPackage={token}", source=INSIDE).status == 200
    cookie = f"Cookie: a=b; URISigningPackage={token}"
    assert oca.get("/a/7/seg-1.m4s", cookie, source=INSIDE).status == 200
    assert oca.get(signed(8, token), source=INSIDE).status == 403
    ranged = oca.get(signed(7, token), "Range: bytes=5-9", source=INSIDE)
    assert (ranged.status, ranged.body) == (206, SMALL[5:10])
    assert oca.get(signed(7, token, "seg-1.m4s/range/5-9"), source=INSIDE).body == SMALL[5:10]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("none", "token_missing"),
        ("expired", "token_expired"),
        ("early", "token_not_yet_valid"),
        ("tampered", "token_bad_signature"),
        ("foreign key", "token_unknown_key"),
        ("rubbish", "token_malformed"),
        ("outside", "client_not_announced"),
    ],
)
def test_what_is_wrong_is_told_to_the_operator_only(
    oca: Oca, box: Box, label: str, reason: str
) -> None:
    """403 with the same words for all; the reason is in the metric and the log."""
    good = box.token(7)
    head, payload, signature = good.split(".")
    stranger = SigningKey("ES256", parse_private_key(new_private_pem("es256"), "k9", "x").key, "k9")
    tokens = {
        "none": "",
        "expired": box.token(7, life_s=-1),
        "early": box.token(7, nbf=time.time() + 100),
        "tampered": f"{head}.{payload}.{signature[:-4]}AAAA",
        "foreign key": mint(Token(exp=time.time() + 60, cdniuc=scope_of([7])), stranger),
        "rubbish": "abc",
        "outside": good,
    }
    path = signed(7, tokens[label]) if label != "none" else "/a/7/seg-1.m4s"
    name = f'oca_refusals_total{{reason="{reason}"}}'
    before = totals(box.run).get(name, 0)
    got = oca.get(path, source=OUTSIDE if label == "outside" else INSIDE)
    assert got.status == 403
    assert got.body == oca.get("/a/7/seg-1.m4s", source=INSIDE).body
    assert totals(box.run)[name] > before
    assert reason in oca.log.read_text()
    assert good not in oca.log.read_text()
    assert f'"client": "{client_prefix(INSIDE)}"' in oca.log.read_text()
    assert INSIDE not in oca.log.read_text(), "a log says no more than the network"


def test_a_token_that_expires_closes_the_door_that_was_open(oca: Oca, box: Box) -> None:
    """Remembered answers end with their token, on the same connection."""
    path = signed(7, box.token(7, life_s=2))
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    with oca.connect(INSIDE) as sock:
        stream = sock.makefile("rb")
        for _ in range(3):
            sock.sendall(request)
            assert read_answer(stream).status == 200
        time.sleep(2.2)
        sock.sendall(request)
        assert read_answer(stream).status == 403


def test_a_peer_fills_with_its_own_signature_and_is_nobodys_demand(oca: Oca, box: Box) -> None:
    """A bearer of an appliance in the plan, from anywhere; its bytes are not players' bytes."""
    now_s = time.time()
    good = f"Authorization: {bearer(box.peer, 'a1', now_s)}"
    before, filled = box.counted(), totals(box.run)["oca_fill_body_bytes_total"]
    got = oca.get("/a/8/all.mp4", good, "Range: bytes=0-999999", source=OUTSIDE)
    assert (got.status, got.body) == (206, box.big[:1_000_000])
    assert box.counted() == before
    wait_until(
        lambda: totals(box.run)["oca_fill_body_bytes_total"] - filled == 1_000_000, "the bytes"
    )
    for wrong in (
        bearer(box.peer, "a2", now_s),
        bearer(box.peer, "a1", now_s - 3600),
        bearer(parse_private_key(new_private_pem(), "b2", "x"), "a1", now_s),
    ):
        assert oca.get("/a/8/seg-1.m4s", f"Authorization: {wrong}").status == 403


@pytest.mark.parametrize(
    "path",
    ["/a/9/seg-1.m4s", "/incoming/9/seg-1.m4s", "/a/7/.asset.json", "/a/07/seg-1.m4s", "/a/7/x"],
)
def test_what_is_not_a_stored_file_of_an_asset_is_404(oca: Oca, box: Box, path: str) -> None:
    """Not what is on its way in, not the entry, not another spelling."""
    auth = f"Authorization: {bearer(box.peer, 'a1', time.time())}"
    assert oca.get(path, auth).status == 404


def bytes_received(sock: socket.socket) -> int:
    """Bytes of payload that this end's kernel took and acknowledged (tcpi_bytes_received)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    received: int = struct.unpack_from("Q", info, TCP_BYTES_RECEIVED_AT)[0]
    return received


def settled(sock: socket.socket) -> int:
    """`bytes_received` once the window is full and nothing has moved for a while."""
    before = -1
    while (now := bytes_received(sock)) != before:
        before = now
        time.sleep(0.4)
    return now


def head_bytes(sock: socket.socket) -> int:
    """Read a head off the socket, byte by byte; its length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return len(head)


def test_delivered_bytes_are_counted_for_the_clients_home_site(oca: Oca, box: Box) -> None:
    """Whole answers, ranges and multipart: what players received is what the tables say."""
    before = box.counted()
    received = 0
    for home in ("isp-a", "isp-b"):
        token = box.token(7, 8, home=home)
        with oca.connect(INSIDE) as sock:
            stream = sock.makefile("rb")
            for extra in ("", "Range: bytes=10-19\r\n", "Range: bytes=0-9,100-109\r\n"):
                for name in ("seg-1.m4s", "all.mp4"):
                    path = signed(7, token, name)
                    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n{extra}\r\n".encode())
                    received += len(read_answer(stream).body)
                sock.sendall(f"GET {signed(8, token)} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                assert read_answer(stream).body == SMALL
    wait_until(lambda: box.counted().get((8, "isp-b"), 0) >= 3 * len(SMALL), "the last count")
    after = box.counted()
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}
    assert grown[(7, "isp-a")] == grown[(7, "isp-b")] == received // 2
    assert grown[(8, "isp-a")] == grown[(8, "isp-b")] == 3 * len(SMALL)


@pytest.mark.parametrize("how", ["reset", "close", "freeze"])
def test_bytes_nobody_acknowledged_are_taken_back(oca: Oca, box: Box, how: str) -> None:
    """A client reads half and is gone: the table says what its kernel acknowledged, exactly."""
    home = f"h-{how}"
    request = f"GET {signed(7, box.token(7, home=home), 'all.mp4')} HTTP/1.1\r\nHost: h\r\n\r\n"
    with oca.connect(INSIDE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        sock.sendall(request.encode())
        head = head_bytes(sock)
        got = 0
        while got < BIG_BYTES // 2:
            got += len(sock.recv(65536))
        if how == "freeze":
            time.sleep(3.5)  # send_stalled_s is 2: the server gives up on us
        body = settled(sock) - head
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert got <= body < BIG_BYTES
    wait_until(lambda: box.counted().get((7, home)) == body, f"{body}")
    time.sleep(0.5)
    assert box.counted()[(7, home)] == body


def test_small_answers_that_a_frozen_client_never_took_are_taken_back(oca: Oca, box: Box) -> None:
    """Pipelined answers from memory: heads and bodies of many, cut anywhere in between."""
    home = "h-pipe"
    line = f"GET {signed(8, box.token(8, home=home))} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    with oca.connect(INSIDE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):  # the server stops reading: back-pressure
            sock.sendall(line * 4000)
        sock.settimeout(5)
        head = head_bytes(sock)
        time.sleep(3)
        received = settled(sock)
    whole = head + len(SMALL)
    body = received // whole * len(SMALL) + max(0, received % whole - head)
    assert received > whole
    wait_until(lambda: box.counted().get((8, home)) == body, f"{body}")


def test_a_killed_worker_loses_no_count(oca: Oca, box: Box) -> None:
    """kill -9: what was counted stays, the next life adds to it."""
    key = (7, "h-kill")
    token = box.token(7, home=key[1])
    assert oca.get(signed(7, token), source=INSIDE).status == 200
    wait_until(lambda: box.counted().get(key) == len(SMALL), "the count")
    for child in children_of(oca.pid):
        if "worker" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(child, signal.SIGKILL)
    assert oca.get(signed(7, token), source=INSIDE).status == 200
    wait_until(lambda: box.counted().get(key) == 2 * len(SMALL), "both counts")


def test_the_generation_word_closes_what_left_the_store(oca: Oca, box: Box) -> None:
    """A dropped asset is 404 with the next request, and its descriptors are closed."""
    box.put(70, {"seg-1.m4s": SMALL, "all.mp4": box.big[:1_000_000]})
    token = box.token(70)
    with oca.connect(INSIDE) as sock:
        stream = sock.makefile("rb")

        def ask(name: str) -> int:
            sock.sendall(f"GET {signed(70, token, name)} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            return read_answer(stream).status

        assert [ask("seg-1.m4s"), ask("seg-1.m4s"), ask("all.mp4")] == [200, 200, 200]
        (box.store / "a" / "70").rename(box.top / "dropped")
        Generation(box.run).raise_word()
        assert [ask("seg-1.m4s"), ask("all.mp4")] == [404, 404]
    workers = [
        c for c in children_of(oca.pid) if "worker" in Path(f"/proc/{c}/cmdline").read_text()
    ]
    links = [str(p.readlink()) for p in Path(f"/proc/{workers[0]}/fd").iterdir()]
    assert not [link for link in links if "dropped" in link]


def test_prefixes_told_by_the_agent_hold_at_once(oca: Oca, box: Box) -> None:
    """Announced and withdrawn while a connection is open."""
    path = signed(7, box.token(7))
    with oca.connect(OUTSIDE) as sock:
        stream = sock.makefile("rb")

        def ask() -> int:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            return read_answer(stream).status

        assert ask() == 403
        box.tell(("127.16.0.0/16", "127.17.0.0/16"))
        assert [ask(), ask()] == [200, 200]
        box.tell(("127.16.0.0/16",))
        assert ask() == 403


def test_an_origin_serves_clients_of_every_network(box: Box, tmp_path: Path) -> None:
    """Role origin: no prefixes needed, a token still is."""
    origin = Box(tmp_path / "o")
    origin.tell(None)
    with serving(tmp_path, "--config", str(origin.config(role='"origin"'))) as running:
        assert running.get(signed(7, origin.token(7)), source=OUTSIDE).status == 200
        assert running.get("/a/7/seg-1.m4s", source=OUTSIDE).status == 403
