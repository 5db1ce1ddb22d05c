"""Questions to fill's state from the command line: diff, offload, purge, check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fill.brakes import wants_of
from fill.explain import amount
from fill.files import Files
from fill.history import reading
from fill.ledger import Ledger, alone
from fill.night import read_all_demand, read_all_rules
from fill.offload import offload_report
from fill.tables import Held
from wire.durable import why_not_writable, write_durably
from wire.errors import NotFoundError, WireError
from wire.ids import ORIGIN_ID
from wire.knobs import knobs_of
from wire.listen import refuse_clash
from wire.offload import OffloadReport
from wire.plan import PurgeList, sign_purge
from wire.web import listen_address


def two_generations(files: Files, wanted: Sequence[int]) -> tuple[Held, Held, str]:
    """What boxes are to hold in an old and a new generation, and a title; raises NotFoundError."""
    ledger = Ledger(files.state)
    new = wanted[1] if len(wanted) > 1 else in_force(ledger)
    earlier = [number for number in ledger.numbers() if number < new]
    old = wanted[0] if wanted else max(earlier, default=0)
    if not old:
        raise NotFoundError(f"there is no generation before {new}")
    return _held(ledger, old), _held(ledger, new), f"From generation {old} to {new}"


def _held(ledger: Ledger, number: int) -> Held:
    boxes = ledger.summary(number).boxes
    return Held(
        {name: box.generation for name, box in boxes.items()}, wants_of(ledger.rows(number))
    )


def offload(files: Files, since_s: int) -> OffloadReport:
    """The offload report, from the history on the disk."""
    ledger = Ledger(files.state)
    current = ledger.current()
    with reading(files.history) as history:
        totals = history.totals(since_s // 60)
    return offload_report(totals, since_s, ledger.summary(current) if current else None)


def add_purge(files: Files, assets: Iterable[int], at_least: int = 1) -> int:
    """Add assets to the signed purge list; its new number, `at_least` that: boxes may know of lists
    that a lost state does not. Raises NotFoundError."""
    with alone(files.state):
        snapshot = files.read_catalogue()
        wanted = set(assets)
        for asset in sorted(wanted):
            if not 0 <= asset < snapshot.next_id:  # one that is no id, and no box could read on
                raise NotFoundError(f"the catalogue never had an asset {asset}")
        old = files.read_purge(snapshot.epoch)
        new = PurgeList(
            epoch=snapshot.epoch,
            number=max(old.number + 1, at_least),
            assets=tuple(sorted(wanted.union(old.assets))),
        )
        write_durably(files.purge, sign_purge(new, files.signing_key()))
        return new.number


def late_purgers(files: Files) -> list[str]:
    """One line for each box that has not carried out the whole purge list."""
    number = files.read_purge(files.read_catalogue().epoch).number
    with reading(files.history) as history:
        acks = history.purge_acks()
    late = []
    for box in files.read_fleet().appliances:
        done = acks.get(box.id, (0, 0))[0]
        if done < number:
            late.append(f"{box.id}: has carried out list {done} of {number}")
    return late


def check(files: Files) -> list[str]:
    """What the configuration means, line by line; raises WireError where it does not hold."""
    catalogue, fleet = files.read_catalogue(), files.read_fleet()
    files.signing_key()
    files.steering_keys()
    _check_places(files)
    read_all_rules(files, catalogue, fleet)
    demand = read_all_demand(files, catalogue, fleet)
    boxes = [box for box in fleet.appliances if box.id != ORIGIN_ID]
    total = sum(entry.asset.bytes for entry in catalogue.entries.values())
    return [
        *(f"{knob.name} = {knob.value!r}" for knob in knobs_of(files.config)),
        f"catalogue: {len(catalogue.entries)} assets, {amount(total)}, epoch {catalogue.epoch}",
        f"fleet: {len(boxes)} boxes in {len(fleet.sites)} sites",
        f"demand: {len(demand.rows)} rows",
        "all of it holds",
    ]


def _check_places(files: Files) -> None:
    """Ports that clash, a state folder that is not ours; raises WireError."""
    config, what = files.config, str(files.base)
    refuse_clash(
        {
            "listen": listen_address(config.listen, f"{what}: listen"),
            "admin_listen": listen_address(config.admin_listen, f"{what}: admin_listen"),
        },
        what,
    )
    why = why_not_writable(files.state)
    if why is not None:
        raise WireError(what, "state", why)


def in_force(ledger: Ledger) -> int:
    """The generation in force; raises NotFoundError before the first."""
    current = ledger.current()
    if not current:
        raise NotFoundError("no plan has been published yet: fill plan")
    return current
