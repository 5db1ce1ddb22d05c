"""One value of every type that travels, equal to its golden file (which no test writes)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyroaring import BitMap

from wire import catalogue, events, fleet, offload, pathways, plan, problem, reports, steer, token
from wire.ids import SiteKind

GOLDEN = Path(__file__).parent / "golden"
EPOCH = "0123456789abcdef"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

FILE = catalogue.File(
    name="seg-1.m4s", bytes=4, sha256=SHA, chunks=("6c78e0e3bd51d358d01e758642b85fb8",),
    media_type="video/mp4",
)  # fmt: skip
ASSET = catalogue.Asset(
    id=7, title="film", name="v720", kind=catalogue.AssetKind.VIDEO, modified_s=1_700_000_000,
    files=(FILE,), bitrate_bps=3_000_000,
)  # fmt: skip
MANIFESTS = catalogue.Asset(
    id=8, title="film", name="manifests", kind=catalogue.AssetKind.MANIFEST,
    modified_s=1_700_000_000, files=(FILE,),
)  # fmt: skip

SAMPLES: dict[str, Any] = {
    "catalogue": catalogue.Catalogue(epoch=EPOCH, next_id=9, assets=(ASSET, MANIFESTS)),
    "titles": catalogue.Catalogue(epoch=EPOCH, next_id=9, assets=(ASSET, MANIFESTS)).titles(),
    "plan": plan.Plan(
        appliance="oca-a1", epoch=EPOCH, generation=3, made_s=1_700_000_000,
        expires_s=1_700_172_800, fill_bytes=10**12,
        desired=(plan.Desired(asset=7, bytes=4, digest=SHA, sources=(0, 1), value=1.5, why="hot"),),
        sources=(
            plan.Source(id="oca-a2", kind=plan.SourceKind.PEER, url="http://127.11.0.2:18080"),
            plan.Source(id="origin", kind=plan.SourceKind.ORIGIN, url="http://127.10.0.9:18080"),
        ),
        peers={"oca-a2": "ed25519:AAAA"},
    ),
    "purge": plan.PurgeList(epoch=EPOCH, number=2, assets=(7, 9)),
    "purge-ack": plan.PurgeAck(appliance="oca-a1", number=2),
    "heartbeat": reports.Heartbeat(
        appliance="oca-a1", epoch=EPOCH, boot=4, seq=17, health=0.9, admit=0.5, why="disk is slow",
        served_bps=10**9, capacity_bps=10**10, connections=812, inventory_seq=3, routes_seq=1,
        generation=3,
    ),
    "heartbeat-reply": reports.HeartbeatReply(send_inventory=True),
    "inventory-full": reports.Inventory(
        appliance="oca-a1", epoch=EPOCH, boot=4, seq=1, added=reports.pack_bitmap(BitMap([1, 7])),
    ),
    "inventory-delta": reports.Inventory(
        appliance="oca-a1", epoch=EPOCH, boot=4, seq=2, base_seq=1,
        added=reports.pack_bitmap(BitMap([9])), removed=reports.pack_bitmap(BitMap([1])),
    ),
    "inventory-disks": reports.Inventory(
        appliance="oca-a1", epoch=EPOCH, boot=4, seq=3, base_seq=2, added="",
        disks=(
            reports.DiskTold(key="5f0c", bytes=16_000_000_000_000),
            reports.DiskTold(key="a1b2", bytes=16_000_000_000_000, live=False),
        ),
    ),
    "inventory-reply": reports.InventoryReply(boot=4, seq=2),
    "routes": reports.Routes(
        appliance="oca-a1", epoch=EPOCH, boot=4, seq=1,
        routes=(
            reports.Route(prefix="127.16.0.0/16", as_path=(64500,), med=10, communities=("1:2",)),
            reports.Route(prefix="2001:db8::/32", as_path=(64500, 64501), origin_code="egp"),
        ),
    ),
    "routes-reply": reports.RoutesReply(taken=1, dropped={"longer than /24": 1}),
    "events": events.EventBatch(
        appliance="oca-a1", site="isp-a", boot=4, seq=12,
        rows=(
            events.Delivered(asset=7, home="isp-a", minute=28_333_333, bytes=123_456),
            events.Delivered(asset=7, home="", minute=28_333_333, bytes=1),
        ),
    ),
    "events-played": events.EventBatch(
        appliance="oca-a1", site="isp-a", boot=4, seq=13, rows=(),
        played=(
            events.Played(
                asset=7, home="isp-a", minute=28_333_333, sessions=2, requests=30, starved=1,
                startups=2, late=1, bitrate_kbps=events.Said(sum=90_000, count=30),
                buffer_ms=events.Said(sum=400_000, count=20),
            ),
        ),
    ),
    "events-filling": events.EventBatch(
        appliance="oca-a1", site="isp-a", boot=4, seq=14, rows=(),
        filling=events.FillProgress(
            generation=17, held=120, held_bytes=4_000_000_000, left=3, left_bytes=90_000_000,
            bps=800_000_000, paused="the budget is spent",
        ),
    ),
    "events-ack": events.EventAck(boot=4, seq=12),
    "steer": steer.SteerAnswer(
        title="film", home="isp-a", ttl_s=30,
        places=(
            steer.Place(pathway="oca-a1", site="isp-a", rank=0),
            steer.Place(pathway="origin", site="origin", rank=1),
        ),
        assets=(steer.AssetUrls(asset=7, name="v720", urls={"oca-a1": "http://h:1/a/7;x=y/"}),),
    ),
    "content-steering": pathways.SteeringManifest(
        ttl_s=30, priority=("oca-a1", "origin"), reload_uri="http://s/v1/steering/hls?t=film"
    ),
    "explanation": steer.Explanation(
        client="127.16.5.5", asset=7, title="film", home="isp-a", stale=False, ttl_s=30,
        sites=(
            steer.SiteVerdict(
                site="isp-a", kind=SiteKind.EMBEDDED, rank=0, prefix="127.16.0.0/16", why="/16",
                boxes=(
                    steer.BoxVerdict(appliance="oca-a1", score=0.7, chosen=True),
                    steer.BoxVerdict(
                        appliance="oca-a2", score=0.1, reason=steer.Reason.CONTENT, detail="no 7"
                    ),
                ),
            ),
        ),
        chosen=(steer.Place(pathway="oca-a1", site="isp-a", rank=0),),
    ),
    "fleet-state": steer.FleetState(
        epoch=EPOCH, stale=False,
        boxes=(
            steer.BoxState(
                appliance="oca-a1", site="isp-a", state="in_service", health=1.0, admit=1.0, why="",
                silent_s=0.5, assets=2, routes=1, served_bps=0, generation=3,
                refused={"future clock": 1}, last_refusal="future clock",
            ),
        ),
    ),
    "token": token.Token(
        exp=1_700_003_600, iat=1_700_000_000, iss="steering", jti="b1", home="isp-a",
        cdniuc=token.scope_of([7, 8]),
    ),
    "offload": offload.OffloadReport(
        since_s=1_700_000_040, generation=3,
        homes={
            "isp-a": offload.HomeOffload(
                bytes=1000, by_site={"exchange": 50, "isp-a": 950},
                by_appliance={"oca-a1": 950, "oca-x1": 50}, realised=0.95, planned=0.96,
            ),
        },
    ),
    "problem": problem.Problem(
        status=404, title="Not Found", detail="there is no asset 99", field="asset"
    ),
}  # fmt: skip

FLEET = fleet.Fleet(
    scheme="http", port=18080,
    sites=(
        fleet.Site(id="isp-a", kind=SiteKind.EMBEDDED, latitude_deg=52.5, longitude_deg=13.4),
        fleet.Site(id="origin", kind=SiteKind.ORIGIN),
    ),
    appliances=(
        fleet.Appliance(
            id="oca-a1", site="isp-a",
            public_key="ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            hosts=("127.11.0.1",), disks_bytes=(10**12,), link_bps=10**10, origin_asns=(64500,),
        ),
        fleet.Appliance(
            id="origin", site="origin",
            public_key="ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            hosts=("127.10.0.9",), disks_bytes=(10**13,), link_bps=10**10,
        ),
    ),
)  # fmt: skip
