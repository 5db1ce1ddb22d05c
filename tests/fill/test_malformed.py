"""A hundred kinds of malformed input: each is told with file, row and field, nothing is published.

One installation with a generation in force; every case spoils one file, runs a command, and finds
the generation as it was. What is told is given in words; the file's name must be among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fill.history import History
from tests.fill.ground import Ground
from wire.events import Delivered, EventBatch

HEAD = "day,home,asset,bytes\n"
EVENTS = "appliance,boot,seq,minute,home,asset,bytes\n"
DAY = 20_770
Spoil = Callable[[bytes], bytes]


def text(whole: str) -> Spoil:
    """The whole file is this."""
    return lambda _: whole.encode()


def row(line: str) -> Spoil:
    """A demand file with one good row, then this one."""
    return text(f"{HEAD}2026-11-01,isp-a,1,5\n{line}\n")


def event(line: str) -> Spoil:
    """A file of events with one good row, then this one."""
    return text(f"{EVENTS}b1,1,1,29000000,isp-a,1,5\n{line}\n")


def sub(old: str, new: str) -> Spoil:
    """The first `old` becomes `new`."""

    def spoil(raw: bytes) -> bytes:
        assert old.encode() in raw, raw[:2000]
        return raw.replace(old.encode(), new.encode(), 1)

    return spoil


def cut(share: float) -> Spoil:
    """The file ends early."""
    return lambda raw: raw[: int(len(raw) * share)]


def asset(**fields: Any) -> Spoil:
    """The catalogue's second asset has other fields; None removes one."""

    def spoil(raw: bytes) -> bytes:
        tree = json.loads(raw)
        entry = {**tree["assets"][1], **fields}
        tree["assets"][1] = {name: value for name, value in entry.items() if value is not None}
        return json.dumps(tree).encode()

    return spoil


def file_of_asset(**fields: Any) -> Spoil:
    """The second asset's one file has other fields; None removes one."""

    def spoil(raw: bytes) -> bytes:
        entry = {**json.loads(raw)["assets"][1]["files"][0], **fields}
        return asset(files=[{k: v for k, v in entry.items() if v is not None}])(raw)

    return spoil


def catalogue(**fields: Any) -> Spoil:
    """The catalogue's head has other fields."""
    return lambda raw: json.dumps({**json.loads(raw), **fields}).encode()


def table(**columns: Any) -> Spoil:
    """A Parquet file of demand with other columns; None removes one."""
    good = {
        "day": pa.array([DAY, DAY], pa.int32()), "home": ["isp-a", "isp-b"],
        "asset": pa.array([1, 1], pa.int64()), "bytes": pa.array([5, 6], pa.int64()),
    }  # fmt: skip

    def spoil(_: bytes) -> bytes:
        chosen = {k: v for k, v in {**good, **columns}.items() if v is not None}
        out = pa.BufferOutputStream()
        pq.write_table(pa.table(chosen), out)
        return bytes(out.getvalue().to_pybytes())

    return spoil


def ints(*values: int | None) -> pa.Array:
    """A column of whole numbers."""
    return pa.array(values, pa.int64())


CSV_DEMAND: dict[str, tuple[Spoil, str]] = {
    "empty": (text(""), "row 1: the header is 'nothing'"),
    "header only spaces": (text("   \n"), "row 1: the header is"),
    "no header": (text("2026-11-01,isp-a,1,5\n"), "row 1: the header is"),
    "absent column": (text("day,home,asset\n2026-11-01,isp-a,1\n"), "row 1: the header is"),
    "renamed column": (text("day,site,asset,bytes\n"), "row 1: the header is"),
    "columns swapped": (text("home,day,asset,bytes\n"), "row 1: the header is"),
    "semicolons": (text("day;home;asset;bytes\n"), "row 1: the header is"),
    "tabs": (text("day\thome\tasset\tbytes\n"), "row 1: the header is"),
    "too few fields": (row("2026-11-01,isp-b,1"), "row 3: 3 fields instead of 4"),
    "too many fields": (row("2026-11-01,isp-b,1,5,"), "row 3: 5 fields instead of 4"),
    "no day": (row(",isp-b,1,5"), "row 3, day: '' is not a day"),
    "german day": (row("22.11.2026,isp-b,1,5"), "row 3, day"),
    "november 31": (row("2026-11-31,isp-b,1,5"), "row 3, day"),
    "day as a number": (row("x20770,isp-b,1,5"), "row 3, day"),
    "unknown site": (row("2026-11-01,isp-z,1,5"), "row 3, home: there is no site 'isp-z'"),
    "no site": (row("2026-11-01,,1,5"), "row 3, home"),
    "the origin as home": (row("2026-11-01,origin,1,5"), "row 3, home"),
    "unknown asset": (
        row("2026-11-01,isp-b,999,5"),
        "row 3, asset: the catalogue has no asset 999",
    ),
    "asset by name": (row("2026-11-01,isp-b,film,5"), "row 3, asset: 'film' is not a whole"),
    "negative asset": (row("2026-11-01,isp-b,-1,5"), "row 3, asset"),
    "half an asset": (row("2026-11-01,isp-b,1.5,5"), "row 3, asset"),
    "negative bytes": (row("2026-11-01,isp-b,1,-5"), "row 3, bytes: '-5' is not a whole"),
    "NaN bytes": (row("2026-11-01,isp-b,1,NaN"), "row 3, bytes: 'NaN' is not a whole"),
    "infinite bytes": (row("2026-11-01,isp-b,1,inf"), "row 3, bytes"),
    "exponent": (row("2026-11-01,isp-b,1,1e9"), "row 3, bytes"),
    "thousands": (row('2026-11-01,isp-b,1,"1,000"'), "row 3, bytes"),
    "with a unit": (row("2026-11-01,isp-b,1,5GB"), "row 3, bytes"),
    "no bytes": (row("2026-11-01,isp-b,1,"), "row 3, bytes: '' is not a whole"),
    "null": (row("2026-11-01,isp-b,1,NULL"), "row 3, bytes"),
    "too many bytes": (row(f"2026-11-01,isp-b,1,{2**60}"), "row 3, bytes"),
    "arabic digits": (row("2026-11-01,isp-b,1,٥"), "row 3, bytes"),
    "duplicate": (row("2026-11-01,isp-a,1,6"), "row 3: day, home and asset are those of row 2"),
    "open quote": (row('2026-11-01,"isp-b,1,5'), "this is not CSV"),
    "not UTF-8": (lambda _: HEAD.encode() + b"\xff\xfe", "byte 21: this is not UTF-8"),
    "UTF-16": (lambda _: HEAD.encode("utf-16"), "this is not UTF-8"),
    "binary": (lambda _: b"\x00\x01\x02" * 99, "row 1: the header is"),
}
PARQUET_DEMAND: dict[str, tuple[Spoil, str]] = {
    "empty": (text(""), "cannot be read as Parquet"),
    "a CSV": (text(HEAD), "cannot be read as Parquet"),
    "truncated": (lambda _: table()(b"")[:-20], "cannot be read as Parquet"),
    "foot only": (lambda _: table()(b"")[-30:], "cannot be read as Parquet"),
    "no day": (table(day=None), "columns, day: this column is missing"),
    "no bytes": (table(bytes=None), "columns, bytes: this column is missing"),
    "float bytes": (table(bytes=[1.0, float("nan")]), "columns, bytes: double instead of"),
    "text bytes": (table(bytes=["5", "6"]), "columns, bytes: string instead of"),
    "text asset": (table(asset=["a", "b"]), "columns, asset: string instead of"),
    "number as home": (table(home=ints(1, 2)), "columns, home: int64 instead of text"),
    "date as day": (table(day=pa.array([1, 2], pa.date32())), "columns, day: date32"),
    "negative bytes": (table(bytes=ints(5, -1)), "row 2, bytes: -1 is not between"),
    "too many bytes": (table(bytes=ints(5, 2**60)), "row 2, bytes"),
    "null bytes": (table(bytes=ints(5, None)), "row 2, bytes: this is missing"),
    "null home": (table(home=["isp-a", None]), "row 2, home: this is missing"),
    "null day": (table(day=ints(None, DAY)), "row 1, day: this is missing"),
    "negative day": (table(day=ints(DAY, -3)), "row 2, day: -3 is before 1970"),
    "unknown home": (table(home=["isp-a", "isp-z"]), "row 2, home: there is no site 'isp-z'"),
    "unknown asset": (table(asset=ints(1, 999)), "row 2, asset: the catalogue has no asset 999"),
    "negative asset": (table(asset=ints(1, -7)), "row 2, asset"),
    "duplicate": (table(home=["isp-a", "isp-a"]), "row 2: day, home and asset were there"),
}
FLEET: dict[str, tuple[Spoil, str]] = {
    "empty": (text(""), "site"),
    "not TOML": (text("[[site]\n"), "this is not TOML"),
    "no appliances": (text('[[site]]\nid = "a"\nkind = "ix"\n'), "appliance"),
    "a box without disks": (sub("disks_bytes = [60000]", "disks_bytes = []"), "disks_bytes"),
    "a box with an empty disk": (
        sub("disks_bytes = [60000]", "disks_bytes = [0]"), "disks_bytes: a1 has no disk"),
    "negative disk": (sub("disks_bytes = [60000]", "disks_bytes = [-1]"), "disks_bytes"),
    "disk as text": (sub("disks_bytes = [60000]", 'disks_bytes = ["1TB"]'), "disks_bytes"),
    "NaN disk": (sub("disks_bytes = [60000]", "disks_bytes = [nan]"), "disks_bytes"),
    "no link": (sub("link_bps = 1000000000", "link_bps = 0"), "link_bps"),
    "negative link": (sub("link_bps = 1000000000", "link_bps = -5"), "link_bps"),
    "link absent": (sub("link_bps = 1000000000\n", ""), "link_bps"),
    "unknown site": (sub('site = "isp-a"', 'site = "isp-z"'), "there is no site isp-z"),
    "the same box twice": (sub('id = "a2"', 'id = "a1"'), "appliance[1].id: a1 is there twice"),
    "the same site twice": (sub('id = "isp-b"', 'id = "isp-a"'), "isp-a is there twice"),
    "unknown kind": (sub('kind = "ix"', 'kind = "moon"'), "kind"),
    "unknown state": (sub('state = "in_service"', 'state = "asleep"'), "state"),
    "no key": (sub("public_key = ", "private_key = "), "public_key"),
    "broken key": (sub('public_key = "ed25519:', 'public_key = "ed25519:!'), "public_key"),
    "no hosts": (sub('hosts = ["127.10.8.1"]', "hosts = []"), "hosts"),
    "bad id": (sub('id = "a1"', 'id = "A 1"'), "id"),
    "port as text": (sub("port = 18080", 'port = "http"'), "port"),
    "latitude 91": (sub('kind = "ix"', 'kind = "ix"\nlatitude_deg = 91.0'), "latitude_deg"),
}  # fmt: skip
CATALOGUE: dict[str, tuple[Spoil, str]] = {
    "empty": (text(""), "catalogue.json"),
    "truncated": (cut(0.5), "catalogue.json"),
    "a list": (text("[]"), "$"),
    "no epoch": (lambda raw: raw.replace(b'"epoch"', b'"epoc"'), "epoch"),
    "short epoch": (catalogue(epoch="12"), "epoch"),
    "next_id behind": (catalogue(next_id=1), "is not below next_id"),
    "negative next_id": (catalogue(next_id=-1), "next_id"),
    "other version": (catalogue(version=9), "version"),
    "0-byte asset": (file_of_asset(bytes=0, chunks=[]), "has 0 bytes"),
    "negative size": (file_of_asset(bytes=-1), "assets[1]"),
    "size as text": (file_of_asset(bytes="1 GB"), "assets[1]"),
    "size as a fraction": (file_of_asset(bytes=1.5), "assets[1]"),
    "no checksum": (file_of_asset(sha256=None), "assets[1]"),
    "short checksum": (file_of_asset(sha256="abc"), "assets[1]"),
    "path as a name": (file_of_asset(name="../../etc/passwd"), "assets[1]"),
    "no files": (asset(files=[]), "assets[1]"),
    "the same id twice": (asset(id=1), "is there twice"),
    "negative id": (asset(id=-2), "assets[1]"),
    "no title": (asset(title=None), "assets[1]"),
    "unknown kind": (asset(kind="smell"), "assets[1]"),
}
RULES: dict[str, tuple[Spoil, str]] = {
    "not TOML": (text("[[pin]\n"), "this is not TOML"),
    "unknown title": (text('[[pin]]\ntitles = ["nope"]\n'), "pin[0].titles: there is no title"),
    "unknown asset": (text("[[ban]]\nassets = [999]\n"), "ban[0].assets: there is no asset"),
    "unknown site": (text('[[ban]]\nassets = [1]\nsites = ["q"]\n'), "ban[0].sites"),
    "unknown box": (text('[[pin]]\nassets = [1]\nappliances = ["q"]\n'), "pin[0].appliances"),
    "nothing named": (text("[[ban]]\n"), "ban[0]: it names neither titles nor assets"),
    "no copies": (text("[[pin]]\nassets = [1]\ncopies = 0\n"), "copies"),
    "a launch without a day": (text("[[launch]]\nassets = [1]\n"), "day"),
    "a launch on no day": (text('[[launch]]\nassets = [1]\nday = "soon"\n'), "day"),
    "unknown field": (text("[[pin]]\nassets = [1]\ncopys = 2\n"), "copys"),
}
CONFIG: dict[str, tuple[Spoil, str]] = {
    "not TOML": (text("= 3\n"), "this is not TOML"),
    "unknown setting": (lambda raw: b"catalog = 'x'\n" + raw, "no such setting"),
    "no signing key": (sub("signing_key =", "#"), "signing_key"),
    "share of 2": (sub("reserve_share = 0.0", "reserve_share = 2.0"), "reserve_share"),
    "NaN share": (sub("reserve_share = 0.0", "reserve_share = nan"), "reserve_share"),
    "text for a number": (sub("reserve_share = 0.0", 'reserve_share = "x"'), "reserve_share"),
    "unknown use": (sub('use = "files"', 'use = "dreams"'), "demand.use"),
    "a file that is not there": (sub('"demand.csv"', '"gone.csv"'), "gone.csv: cannot be read"),
}
OTHERS: dict[str, tuple[str, Spoil, str]] = {
    "key: not PEM": ("keys/fill.pem", text("not a key"), "PEM private key"),
    "key: empty": ("keys/fill.pem", text(""), "PEM private key"),
    "key: another kind": (
        "keys/fill.pem", text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        "fill.pem"),
    "inventory: not JSON": ("state/inventories/b1.json", text("{"), "b1.json"),
    "inventory: no bitmap": (
        "state/inventories/b1.json",
        lambda _: b'{"appliance":"b1","epoch":"0123456789abcdef","boot":1,"seq":1}', "assets"),
    "generation: pointer": ("state/generations/current", text("one\n"), "not a generation"),
    "generation: plan cut off": ("state/generations/1/plan.parquet", cut(0.5), "plan.parquet"),
    "generation: manifest cut off": (
        "state/generations/1/manifest.json", cut(0.5), "manifest.json"),
    "purge list": ("state/purge.jws", text("a.b.c"), "purge"),
}  # fmt: skip
COUNTED: dict[str, tuple[str, Spoil, str]] = {
    "no such kind": ("in.xlsx", text("x"), "what kind of file is '.xlsx'?"),
    "events: empty": ("in.csv", text(""), "row 1, day: this column is missing"),
    "events: column": ("in.csv", text("appliance,minute,home,asset,bytes\n"), "row 1, boot"),
    "events: bytes": ("in.csv", event("b1,1,2,29000000,isp-a,1,-5"), "row 3, bytes"),
    "events: NaN": ("in.csv", event("b1,1,2,29000000,isp-a,1,nan"), "row 3, bytes"),
    "events: minute": ("in.csv", event("b1,1,2,noon,isp-a,1,5"), "row 3, minute"),
    "events: far future": ("in.csv", event("b1,1,2,99000000,isp-a,1,5"), "row 3, minute"),
    "events: short row": ("in.csv", event("b1,1,2"), "row 3: 3 fields instead of 7"),
    "events: contradiction": ("in.csv", event("b1,1,1,29000000,isp-a,1,6"), "row 3: this batch"),
    "events: asset": ("in.csv", event("b1,1,2,29000000,isp-a,999,5"), "row 3, asset"),
    "parquet: truncated": (
        "in.parquet", lambda _: table()(b"")[:40], "in.parquet: this cannot be read as Parquet"),
    "parquet: float": ("in.parquet", table(bytes=[1.0, 2.0]), "bytes: double instead of"),
    "parquet: negative": ("in.parquet", table(bytes=ints(5, -1)), "row 2, bytes"),
    "parquet: null": ("in.parquet", table(bytes=ints(5, None)), "row 2, bytes"),
    "parquet: null home": ("in.parquet", table(home=["isp-a", None]), "row 2, home"),
    "parquet: duplicate": (
        "in.parquet", table(home=["isp-a", "isp-a"]), "row 2: day, home and asset were there"),
    "parquet: negative day": ("in.parquet", table(day=ints(DAY, -1)), "row 2, day"),
    "parquet: asset": ("in.parquet", table(asset=ints(1, 999)), "row 2, asset"),
    "history: none": ("in.sqlite", text("nonsense" * 999), "cannot be used as a history"),
}  # fmt: skip


def planned() -> Iterator[Any]:
    """All cases of `fill plan`: file, how it is spoilt, what is told."""
    groups = {
        "demand.csv": CSV_DEMAND, "demand.parquet": PARQUET_DEMAND, "fleet.toml": FLEET,
        "media/catalogue.json": CATALOGUE, "rules.toml": RULES, "fill.toml": CONFIG,
    }  # fmt: skip
    for file, cases in groups.items():
        for name, (spoil, told) in cases.items():
            yield pytest.param(file, spoil, told, id=f"{file}: {name}")
    for name, (file, spoil, told) in OTHERS.items():
        yield pytest.param(file, spoil, told, id=name)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """An installation with a generation in force, both kinds of demand file, and rules."""
    ground = Ground(tmp_path_factory.mktemp("malformed"))
    ground.falling_demand(ground.synthetic(4))
    demand = 'use = "files"\nfiles = ["demand.csv", "demand.parquet"]'
    ground.write_config(demand=demand)
    (ground.folder / "demand.parquet").write_bytes(table()(b""))
    (ground.folder / "rules.toml").write_text("")
    config = ground.config.read_text()
    ground.config.write_text('rules = "rules.toml"\n' + config)
    ground.fill("plan")
    (ground.folder / "state/inventories").mkdir()
    return ground


def published(ground: Ground) -> dict[str, bytes]:
    """Every file of every generation."""
    root = ground.folder / "state/generations"
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_there_are_a_hundred_kinds() -> None:
    """What this file promises."""
    assert len(list(planned())) + len(COUNTED) >= 100


@pytest.mark.parametrize(("file", "spoil", "told"), planned())
def test_plan_tells_what_is_wrong_and_publishes_nothing(
    stand: Ground, file: str, spoil: Spoil, told: str
) -> None:
    """File, place and fault on stderr, no traceback, exit code 1, the generation as it was."""
    path = stand.folder / file
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(spoil(before or b""))
    spoilt = published(stand)
    try:
        done = stand.fill("plan", check=False)
        assert published(stand) == spoilt
    finally:
        path.unlink() if before is None else path.write_bytes(before)
    assert done.returncode == 1, done.stdout
    assert told in done.stderr
    assert "fill: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("file", "spoil", "told"), COUNTED.values(), ids=COUNTED)
def test_demand_tells_what_is_wrong_and_writes_nothing(
    stand: Ground, tmp_path: Path, file: str, spoil: Spoil, told: str
) -> None:
    """As `fill plan`: file, row and field; no output file."""
    (tmp_path / file).write_bytes(spoil(b""))
    out = tmp_path / "out.parquet"
    done = stand.fill("demand", str(tmp_path / file), "--out", str(out), check=False)
    assert done.returncode == 1, done.stdout
    assert told in done.stderr and file in done.stderr
    assert "Traceback" not in done.stderr and not out.exists()


def test_a_history_of_another_world_is_no_error(stand: Ground, tmp_path: Path) -> None:
    """Counted bytes of sites and assets that are gone are left out, and said."""
    path = tmp_path / "in.sqlite"
    history = History(path)
    rows = tuple(
        Delivered(asset=1, home=home, minute=29_000_000, bytes=7) for home in ("isp-a", "isp-z", "")
    )
    history.store([EventBatch(appliance="b1", site="isp-b", boot=1, seq=1, rows=rows)])
    history.close()
    done = stand.fill("demand", str(path), "--out", str(tmp_path / "out.csv"))
    assert "left out: 7 B (site not in the fleet)" in done.stdout
    assert "left out: 7 B (no home site)" in done.stdout
