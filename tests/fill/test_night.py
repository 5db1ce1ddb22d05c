"""`fill plan` and its kin as commands: brakes, generations, malformed inputs, kill -9."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import date

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fill.cli import main
from fill.inquiry import add_purge
from fill.ledger import Ledger, alone
from tests.fill.ground import ROOT, Ground
from tests.typed import typed
from wire.errors import AuthError, NotFoundError
from wire.plan import Plan, open_plan


def in_force(ground: Ground) -> int:
    """The generation in force."""
    return Ledger(ground.folder / "state").current()


def wanted(plan: Plan) -> set[int]:
    """The assets of a plan."""
    return {item.asset for item in plan.desired}


def test_plan_publishes_a_signed_generation_for_every_box(ground: Ground) -> None:
    """The first one is number 1; the tables name every site and box."""
    ground.falling_demand(ground.synthetic(30))
    done = ground.fill("plan")
    made = ground.plans()
    assert set(made) == {"a1", "a2", "b1", "x1", "origin"}
    assert {plan.generation for plan in made.values()} == {1}
    for word in ("isp-a", "exchange", "b1", "generation 1 is in force"):
        assert word in done.stdout


def test_a_plan_changed_on_the_disk_does_not_open(ground: Ground) -> None:
    """What is signed is the exact bytes."""
    ground.falling_demand(ground.synthetic(5))
    ground.fill("plan")
    path = ground.folder / "state/generations/1/slices/a1.jws"
    head, _payload, signature = path.read_bytes().split(b".")
    swapped = (ground.folder / "state/generations/1/slices/a2.jws").read_bytes().split(b".")[1]
    with pytest.raises(AuthError):
        open_plan(b".".join([head, swapped, signature]), ground.files.own_keys())


def test_a_dry_run_publishes_nothing(ground: Ground) -> None:
    """It shows the tables only."""
    ground.falling_demand(ground.synthetic(5))
    done = ground.fill("plan", "--dry-run")
    assert "was not published" in done.stdout
    assert in_force(ground) == 0


def test_a_fleet_file_cut_short_needs_force(ground: Ground) -> None:
    """A box that had a plan and is not in the fleet file any more is named."""
    ground.falling_demand(ground.synthetic(30))
    ground.fill("plan")
    fleet = ground.folder / "fleet.toml"
    whole = fleet.read_text()
    entries = whole.split("[[appliance]]")
    fleet.write_text("[[appliance]]".join(one for one in entries if 'id = "b1"' not in one))
    refused = ground.fill("plan", check=False)
    assert refused.returncode == 3
    assert "b1 is not in the fleet file any more" in refused.stderr
    assert in_force(ground) == 1
    ground.fill("plan", "--force")
    assert in_force(ground) == 2


def test_a_plan_that_empties_a_box_needs_force(ground: Ground) -> None:
    """Yesterday's favourites are all gone: refused with the reason, then forced."""
    snapshot = ground.synthetic(40)
    half = list(snapshot.entries)
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in half[:10]))
    ground.fill("plan")
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in half[20:30]))
    refused = ground.fill("plan", check=False)
    assert refused.returncode == 3
    assert "b1 would drop 100% of the bytes planned for it" in refused.stderr
    assert "--force" in refused.stderr
    assert in_force(ground) == 1
    assert "unlike the last plan: b1 would drop" in ground.fill("plan", "--dry-run").stdout
    ground.fill("plan", "--force")
    assert wanted(ground.plans()["b1"]) == set(half[20:30])
    assert ground.plans()["b1"].force


def test_a_fall_of_planned_offload_needs_force(ground: Ground) -> None:
    """The same demand on half a disk: nothing is wrong with it, but a person should look."""
    snapshot = ground.synthetic(10)
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in snapshot.entries))
    ground.fill("plan")
    wide = ground.demand
    wide(
        *(("2026-11-22", "isp-b", asset, 10**6) for asset in snapshot.entries),
        *(("2026-11-22", "isp-a", asset, 1) for asset in snapshot.entries),
    )
    ground.write_config(plan="reserve_share = 0.15")
    refused = ground.fill("plan", check=False)
    assert refused.returncode == 3
    assert "planned offload of isp-b falls from 100.0% to 80.0%" in refused.stderr


def test_an_empty_demand_does_not_empty_the_fleet(ground: Ground) -> None:
    """No row at all: what is held is kept, and the brake says that no demand is left."""
    ground.falling_demand(ground.synthetic(10))
    ground.fill("plan")
    ground.demand()
    refused = ground.fill("plan", check=False)
    assert refused.returncode == 3
    assert "no demand at all" in refused.stderr
    assert in_force(ground) == 1


def test_canaries_get_the_new_plan_first(ground: Ground) -> None:
    """The others keep the signed plan they have, with its old generation."""
    snapshot = ground.synthetic(20)
    ground.falling_demand(snapshot)
    ground.fill("plan")
    ground.fill("plan", "--canary", "b1")
    now = ground.plans()
    assert now["b1"].generation == 2 and now["a1"].generation == 1
    assert in_force(ground) == 2
    ground.fill("plan")
    assert {plan.generation for plan in ground.plans().values()} == {3}
    unknown = ground.fill("plan", "--canary", "b9", check=False)
    assert unknown.returncode == 1 and "b9" in unknown.stderr


def test_rollback_publishes_old_content_under_a_new_number(ground: Ground) -> None:
    """Generations only grow; agents refuse a lower one."""
    snapshot = ground.synthetic(40)
    ground.falling_demand(snapshot)
    ground.fill("plan")
    first = wanted(ground.plans()["b1"])
    ranked = list(snapshot.entries)
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in ranked[20:30]))
    ground.fill("plan", "--force")
    assert wanted(ground.plans()["b1"]) != first
    ground.fill("rollback", "1", "--force")
    assert in_force(ground) == 3
    assert wanted(ground.plans()["b1"]) == first
    assert {plan.generation for plan in ground.plans().values()} == {3}
    missing = ground.fill("rollback", "77", check=False)
    assert missing.returncode == 1 and "no generation 77; kept are: 1, 2, 3" in missing.stderr


def test_diff_shows_what_changes(ground: Ground) -> None:
    """Gained, lost and kept, box by box."""
    snapshot = ground.synthetic(20)
    ranked = list(snapshot.entries)
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in ranked[:8]))
    ground.fill("plan")
    ground.demand(*(("2026-11-22", "isp-b", asset, 10**6) for asset in ranked[:9]))
    ground.fill("plan")
    done = ground.fill("diff")
    (row,) = (line for line in done.stdout.splitlines() if "b1" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["b1", "1 → 2", "1", "5.0 kB", "0", "0 B", "8"]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("demand.csv", "day,home,asset,bytes\n2026-11-22,isp-a,1,x\n", "demand.csv: row 2, bytes"),
        ("demand.csv", "day,home,asset,bytes\n2026-11-22,isp-q,1,5\n", "demand.csv: row 2, home"),
        ("demand.csv", "day,home,asset,bytes\n2026-11-22,isp-a,99,5\n", "row 2, asset"),
        ("fleet.toml", "port = 'x'\n", "fleet.toml: "),
        ("fleet.toml", "[[site]\n", "this is not TOML"),
        ("media/catalogue.json", '{"version":1}', "catalogue.json: $"),
        ("media/catalogue.json", '{"epoch":"0123456789abcdef","next_id":2,"assets":[{}]}', "[0]"),
        ("keys/fill.pem", "not a key", "PEM private key"),
        ("fill.toml", "catalog = 'x'\n", "there is no such setting"),
    ],
)
def test_malformed_inputs_are_named_and_publish_nothing(
    ground: Ground, file: str, text: str, told: str
) -> None:
    """File, row and field on stderr, no traceback, non-zero exit, the old generation in force."""
    ground.falling_demand(ground.synthetic(5))
    ground.fill("plan")
    (ground.folder / file).write_text(text)
    done = ground.fill("plan", check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert (ground.folder / "state/generations/current").read_text() == "1\n"
    assert not (ground.folder / "state/generations/2").exists()


def test_kill_at_any_moment_leaves_a_whole_generation(ground: Ground) -> None:
    """kill -9 while publishing: the pointer names a generation whose every plan opens."""
    ground.falling_demand(ground.synthetic(40))
    command = [sys.executable, "-m", "fill", "plan", "--config", str(ground.config)]
    started_s = time.monotonic()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    whole_s = time.monotonic() - started_s
    seed = random.randrange(10**9)
    print("seed", seed)
    draw = random.Random(seed)
    for _ in range(8):
        before = in_force(ground)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(whole_s * draw.uniform(0.5, 1.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert in_force(ground) >= before
        assert set(ground.plans()) == {"a1", "a2", "b1", "x1", "origin"}
        assert len({plan.generation for plan in ground.plans().values()}) == 1
    numbers = [
        int(p.name) for p in (ground.folder / "state/generations").iterdir() if p.name.isdigit()
    ]
    ground.fill("plan")
    assert in_force(ground) > max(numbers)


def test_a_crash_between_folder_and_pointer_costs_a_number_only(ground: Ground) -> None:
    """A generation that was never in force is not handed out, and its number is not used again."""
    ground.falling_demand(ground.synthetic(5))
    ground.fill("plan")
    folder = ground.folder / "state/generations"
    (folder / "1").rename(folder / "7")
    (folder / "7").rename(folder / "1")
    (folder / "5").mkdir()
    (folder / ".new-6").mkdir()
    ground.fill("plan")
    assert in_force(ground) == 6
    assert not (folder / ".new-6").exists()


def test_a_lost_state_goes_on_above_what_boxes_know(ground: Ground) -> None:
    """--at-least says where; afterwards numbers count on, and a lower one takes nothing back."""
    ground.falling_demand(ground.synthetic(5))
    ground.fill("plan")
    shutil.rmtree(ground.folder / "state")
    assert "generation 4 is in force" in ground.fill("plan", "--at-least", "4").stdout
    assert {plan.generation for plan in ground.plans().values()} == {4}
    assert "generation 5 is in force" in ground.fill("plan", "--at-least", "2").stdout
    assert add_purge(ground.files, [0], at_least=7) == 7
    assert add_purge(ground.files, [1]) == 8
    for wrong in ("0", "-1", "x", "99999999999"):
        assert ground.fill("plan", "--at-least", wrong, check=False).returncode == 2


def test_two_planners_do_not_work_at_once(ground: Ground) -> None:
    """The second one says so and leaves."""
    import fcntl

    ground.falling_demand(ground.synthetic(5))
    (ground.folder / "state").mkdir()
    with (ground.folder / "state/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = ground.fill("plan", check=False)
    assert done.returncode == 1 and "another fill command is at work" in done.stderr


def test_two_catalogues_are_not_made_at_once(ground: Ground) -> None:
    """They would build in one place, and publish what is not whole."""
    ground.synthetic(2)
    with alone(ground.media):
        done = CliRunner().invoke(main, ["catalogue", str(ground.media)])
    assert done.exit_code == 1 and "another fill command is at work" in done.stderr
    missing = CliRunner().invoke(main, ["catalogue", str(ground.folder / "nowhere")])
    assert missing.exit_code == 1 and "there is no such folder" in missing.stderr


def test_a_history_that_is_none_is_named_and_publishes_nothing(ground: Ground) -> None:
    """No traceback: the file at fault, and what to do."""
    ground.synthetic(3)
    ground.write_config(demand='use = "history"')
    (ground.folder / "state").mkdir(exist_ok=True)
    (ground.folder / "state/history.sqlite").write_bytes(b"nonsense" * 1000)
    for command in ("plan", "offload"):
        done = ground.fill(command, check=False)
        assert done.returncode == 1
        assert "history.sqlite: this cannot be used as a history" in done.stderr
    assert not (ground.folder / "state/generations/current").exists()


def test_only_what_is_an_asset_can_be_purged(ground: Ground) -> None:
    """A number that is none would make the list unreadable to every box, for ever."""
    ground.synthetic(2)
    for number in (-5, 2**40):
        with pytest.raises(NotFoundError):
            add_purge(ground.files, [number])
    assert not ground.files.purge.exists()


def test_old_generations_are_forgotten(ground: Ground) -> None:
    """`keep_generations` bounds the ledger."""
    ground.falling_demand(ground.synthetic(3))
    ground.config.write_text("keep_generations = 2\n" + ground.config.read_text())
    for _ in range(4):
        ground.fill("plan")
    assert Ledger(ground.folder / "state").numbers() == [3, 4]


def test_check_config_reads_everything_it_names(ground: Ground) -> None:
    """As ExecStartPre: exit 0 and what the settings are, or the file at fault."""
    ground.falling_demand(ground.synthetic(3))
    done = ground.fill("check-config")
    assert "plan.repay_days = 365.0" in done.stdout and "all of it holds" in done.stdout
    text = ground.config.read_text()
    ground.config.write_text(text.replace(ground.admin, ground.listen))
    same = ground.fill("check-config", check=False)
    assert same.returncode == 1 and "admin_listen: it is the same as listen" in same.stderr
    ground.config.write_text(text)
    (ground.folder / "fleet.toml").unlink()
    missing = ground.fill("check-config", check=False)
    assert missing.returncode == 1 and "fleet.toml: cannot be read" in missing.stderr


def test_keygen_writes_a_private_file_and_never_over_another(ground: Ground) -> None:
    """PEM with mode 0600; the public half on stdout."""
    path = ground.folder / "new.pem"
    done = typed("fill", "keygen", path)
    assert done.stdout.startswith("ed25519:")
    assert path.stat().st_mode & 0o777 == 0o600
    again = typed("fill", "keygen", path)
    assert again.returncode == 1 and "nothing was written" in again.stderr


@pytest.mark.parametrize("box", ["b1", "x1"])
def test_explain_says_why_and_why_not(ground: Ground, box: str) -> None:
    """The favourite is in the ISP and not at the exchange; the eleventh the other way round."""
    snapshot = ground.synthetic(25)
    ranked = list(snapshot.entries)
    ground.demand(*(("2026-11-22", "isp-b", a, 10**6 // (n + 1)) for n, a in enumerate(ranked)))
    ground.fill("plan")
    here, there = (ranked[0], ranked[11]) if box == "b1" else (ranked[11], ranked[0])
    there = there if box == "b1" else ranked[24]
    yes = ground.fill("explain", str(here), "--appliance", box).stdout
    assert f"is to be fetched by {box}" in yes
    assert "Copy 1, worth a density of" in yes and "(this box) fetches it" in yes
    assert "origin (origin)" in yes and "τ + μ" in yes
    no = ground.fill("explain", str(there), "--appliance", box).stdout
    assert f"is not planned for {box}" in no
    assert "its disk is full of what is asked for more" in no
    assert "The last to get in there is asset" in no
    unknown = ground.fill("explain", "999", "--appliance", box, check=False)
    assert unknown.returncode == 1 and "no asset 999" in unknown.stderr


RULES = """[[pin]]
titles = ["t020"]
appliances = ["b1"]
[[ban]]
titles = ["t000"]
sites = ["isp-b"]
[[licence]]
titles = ["t001"]
from = 2000-01-01
until = 2000-12-31
[[launch]]
titles = ["t021"]
day = {day}
"""


def test_rules_come_before_demand_and_are_told(ground: Ground) -> None:
    """A pin and a launch are there though nobody asks; a ban and a licence that ran out keep the
    favourites away, and what was stored of them is dropped; explain says so."""
    snapshot = ground.synthetic(22)
    ranked = list(snapshot.entries)
    ground.demand(*(("2026-11-22", "isp-b", a, 10**6 - n) for n, a in enumerate(ranked[:20])))
    ground.fill("plan")
    assert set(ranked[:2]) <= wanted(ground.plans()["b1"])
    (ground.folder / "rules.toml").write_text(RULES.format(day=date.today().isoformat()))
    ground.config.write_text('rules = "rules.toml"\n' + ground.config.read_text())
    ground.fill("plan", "--force")
    now = wanted(ground.plans()["b1"])
    assert {ranked[20], ranked[21]} <= now and not set(ranked[:2]) & now
    assert ranked[0] in wanted(ground.plans()["x1"])
    out = ground.fill("explain", str(ranked[0]), "--appliance", "b1").stdout
    assert "is to be dropped by b1" in out and "keeps it out (rules file)" in out
    pinned = ground.fill("explain", str(ranked[20]), "--appliance", "b1").stdout
    assert "A pin, a launch or a trigger wants it here" in pinned
    assert "drops 2 assets" in pinned


def test_a_film_that_comes_back_is_watched_until_then(ground: Ground) -> None:
    """A launch still to come of a title that people watch takes nothing away from tomorrow."""
    ranked = list(ground.synthetic(6).entries)
    days = ("2026-11-19", "2026-11-20", "2026-11-21")
    ground.demand(*((day, "isp-b", a, 10**6) for day in days for a in ranked))

    def foreseen() -> str:
        ground.fill("forecast", "--day", "2026-11-22", "--out", str(ground.folder / "f.csv"))
        return (ground.folder / "f.csv").read_text()

    before = foreseen()
    rules = '[[launch]]\ntitles = ["t001"]\nday = {day}\n'
    (ground.folder / "rules.toml").write_text(rules.format(day="2027-01-15"))
    ground.config.write_text('rules = "rules.toml"\n' + ground.config.read_text())
    assert foreseen() == before
    (ground.folder / "rules.toml").write_text(rules.format(day="2026-11-22"))
    assert foreseen() != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[pin]]\n", "pin[0]: it names neither titles nor assets"),
        ('[[ban]]\ntitles = ["nowhere"]\n', "ban[0].titles: there is no title"),
        ('[[ban]]\nassets = [1]\nsites = ["x"]\n', "ban[0].sites: there is no site"),
        ('[[pin]]\nassets = [1]\nappliances = ["x"]\n', "pin[0].appliances: there is no box"),
        ('[[launch]]\nassets = [1]\nday = "soon"\n', "launch[0].day"),
        ("[[exile]]\n", "exile"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(ground: Ground, text: str, told: str) -> None:
    """With file and entry; nothing is published."""
    ground.falling_demand(ground.synthetic(3))
    (ground.folder / "rules.toml").write_text(text)
    ground.config.write_text('rules = "rules.toml"\n' + ground.config.read_text())
    for command in ("plan", "check-config"):
        done = ground.fill(command, check=False)
        assert done.returncode == 1 and "rules.toml" in done.stderr and told in done.stderr
    assert in_force(ground) == 0


def test_a_generation_is_tables_that_others_can_read(ground: Ground) -> None:
    """plan.parquet has the columns of the contract; the manifest the digests of what went in and of
    the tables."""
    ground.falling_demand(ground.synthetic(20))
    ground.fill("plan")
    folder = ground.folder / "state/generations/1"
    table = pq.read_table(folder / "plan.parquet")
    assert table.column_names[:7] == [
        "appliance", "asset", "action", "bytes", "value", "rank", "sources"
    ]  # fmt: skip
    rows = [row for row in table.to_pylist() if row["appliance"] == "b1"]
    plan = ground.plans()["b1"]
    assert [row["asset"] for row in rows] == [item.asset for item in plan.desired]
    assert rows[0]["action"] == "fetch" and rows[0]["sources"][-1] == "origin"
    manifest = Ledger(ground.folder / "state").summary(1)
    for name, digest in manifest.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert set(manifest.files) == {"plan.parquet", "asked.parquet", "schedule.parquet"}
    assert any(path.endswith("demand.csv") for path in manifest.inputs)


def test_control_c_leaves_the_last_generation_in_force(ground: Ground) -> None:
    """SIGINT at any moment: no word of a worker, and the old plan stands or the new one does."""
    ground.falling_demand(ground.synthetic(40))
    ground.fill("plan")
    command = [sys.executable, "-m", "fill", "plan", "--config", str(ground.config)]
    for delay_s in (0.8, 1.3):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert "Process" not in told
        assert len(ground.plans()) == 5
