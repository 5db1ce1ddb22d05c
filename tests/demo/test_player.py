"""The scripted player against small real servers that die, freeze and lie."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from deploy.demo.httpclient import Client, FetchError
from deploy.demo.player import Diary, Player
from deploy.demo.truth import Named, Truth

SEGMENTS, SEGMENT_S = 8, 0.5
BOXES = {"a1": "127.11.77.1", "a2": "127.11.77.2"}
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
STEERING = "127.10.77.3"
CLIENT = "127.16.77.5"
BODY = {f"seg-{n}.m4s": bytes([65 + n]) * 60_000 for n in range(SEGMENTS)} | {"init.mp4": b"init"}
BODY["media.m3u8"] = (
    '#EXTM3U\n#EXT-X-MAP:URI="init.mp4"\n'
    + "".join(f"#EXTINF:{SEGMENT_S},\nseg-{n}.m4s\n" for n in range(SEGMENTS))
    + "#EXT-X-ENDLIST\n"
).encode()
TRUTH = Truth(
    {
        asset: Named("t", name, {k: hashlib.sha256(v).hexdigest() for k, v in BODY.items()})
        for asset, name in ((7, "video"), (9, "audio"))
    }
)


def free_port() -> int:
    """A port that was free a moment ago on every loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class FakeCdn:
    """Two boxes and a steering on one port; `trouble(box, file)` may change what a box does."""

    port: int = field(default_factory=free_port)
    trouble: Callable[[str, str], str] = lambda box, file: ""
    priority: list[str] = field(default_factory=lambda: ["a1", "a2"])
    sent: Counter[str] = field(default_factory=Counter)
    servers: list[asyncio.Server] = field(default_factory=list)

    async def start(self) -> None:
        """Listen on every address."""
        for box, host in BOXES.items():
            self.servers.append(await asyncio.start_server(self.box(box), host, self.port))
        self.servers.append(await asyncio.start_server(self.steer, STEERING, self.port))

    def box(self, name: str) -> Handler:
        """The handler of one box."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while path := await request_path(reader):
                file = path.rsplit("/", 1)[1]
                body = BODY[file]
                trouble = self.trouble(name, file)
                if trouble == "lie":
                    body = body[:-1] + b"!"
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
                part = body[: len(body) // 3] if trouble in ("die", "freeze") else body
                writer.write(part)
                self.sent[BOXES[name]] += len(part)
                await writer.drain()
                if trouble == "freeze":
                    await asyncio.sleep(60)
                if trouble == "die":
                    break
            writer.close()

        return handle

    async def steer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Manifest and steering manifest."""
        while path := await request_path(reader):
            body = self.manifest() if "/play/" in path else self.steering()
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    def manifest(self) -> bytes:
        """A multivariant playlist with both pathways."""
        lines = ["#EXTM3U", '#EXT-X-CONTENT-STEERING:SERVER-URI="/steer",PATHWAY-ID="a1"']
        for box, host in BOXES.items():
            base = f"http://{host}:{self.port}/a"
            lines.append(
                f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s-{box}",NAME="E",URI="{base}/9;U=x/media.m3u8"'
            )
            lines.append(f'#EXT-X-STREAM-INF:BANDWIDTH=9,AUDIO="s-{box}",PATHWAY-ID="{box}"')
            lines.append(f"{base}/7;U=x/media.m3u8")
        return "\n".join(lines).encode()

    def steering(self) -> bytes:
        """The steering manifest."""
        return json.dumps({"VERSION": 1, "TTL": 1, "PATHWAY-PRIORITY": self.priority}).encode()


async def request_path(reader: asyncio.StreamReader) -> str:
    """The path of the next request; empty at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""
    return head.split(b" ")[1].decode()


@pytest.fixture
async def cdn() -> AsyncIterator[FakeCdn]:
    """Running servers, closed afterwards."""
    fake = FakeCdn()
    await fake.start()
    yield fake
    for server in fake.servers:
        server.close()


async def play(cdn: FakeCdn, client: Client) -> tuple[Player, Diary]:
    """Play the whole film."""
    player = Player("t", f"http://{STEERING}:{cdn.port}", client, TRUTH)
    return player, await player.play()


async def test_a_film_plays_from_the_first_pathway_and_every_byte_is_counted(cdn: FakeCdn) -> None:
    """The player's count of a host equals what that host sent."""
    client = Client(CLIENT)
    player, diary = await play(cdn, client)
    assert diary.ended and not diary.wrong and not diary.failed
    assert diary.segments_by() == {BOXES["a1"]: SEGMENTS}
    assert client.delivered == cdn.sent
    assert player.stalls == []


async def test_the_client_s_address_is_its_own(cdn: FakeCdn) -> None:
    """An 'ISP' is a loopback prefix: the server must see the viewer there."""
    seen: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")

    port = free_port()
    server = await asyncio.start_server(note, STEERING, port)
    client = Client(CLIENT)
    await client.get(f"http://{STEERING}:{port}/")
    client.close()
    server.close()
    assert seen == [CLIENT]


@pytest.mark.parametrize("trouble", ["die", "freeze", "lie"])
async def test_playback_goes_on_from_the_next_pathway(cdn: FakeCdn, trouble: str) -> None:
    """A box that dies, freezes or lies in the middle is left, and is not asked again."""
    cdn.trouble = lambda box, file: trouble if (box, file) == ("a1", "seg-3.m4s") else ""
    client = Client(CLIENT, patience_s=0.8)
    player, diary = await play(cdn, client)
    assert diary.ended
    assert [one.pathway for one in diary.failed] == ["a1"]
    assert diary.segments_by()[BOXES["a2"]] >= SEGMENTS - 4
    assert client.delivered == cdn.sent, "the part that arrived before the end counts as well"
    assert bool(diary.wrong) == (trouble == "lie")
    assert max((stall.duration_s for stall in player.stalls), default=0.0) < 0.5


async def test_steering_moves_a_player(cdn: FakeCdn) -> None:
    """PATHWAY-PRIORITY rules over the manifest's own first pathway."""
    cdn.priority = ["a2", "a1"]
    client = Client(CLIENT, line_bps=4_000_000)
    _, diary = await play(cdn, client)
    assert diary.steering_asked >= 1
    assert diary.segments_by()[BOXES["a2"]] >= SEGMENTS - 1


async def test_bytes_on_the_way_when_a_viewer_leaves_are_counted(cdn: FakeCdn) -> None:
    """A frozen box's kernel goes on sending what it has; the abandoned part counts to the byte."""
    cdn.trouble = lambda box, file: "freeze"
    client = Client(CLIENT, patience_s=0.3, line_bps=2_000_000)
    with pytest.raises(FetchError) as caught:
        await client.get(f"http://{BOXES['a1']}:{cdn.port}/a/7/seg-1.m4s")
    assert caught.value.got_bytes == 20_000
    assert client.delivered == cdn.sent


async def test_a_refused_connection_names_the_host() -> None:
    """A dead box answers at once; the error says which it was."""
    with pytest.raises(FetchError, match=r"127\.11\.77\.9: cannot connect: connection refused"):
        await Client(CLIENT).get(f"http://127.11.77.9:{free_port()}/a/7/x")
