"""The command `oca routes`: what people type, and what they read about it."""

from __future__ import annotations

from pathlib import Path

import click

from oca.bgp.rib import Limits
from wire import log
from wire.reports import ROUTES_MAX

EXAMPLE = """
\b
In exabgp's configuration (version 5; a whole one: deploy/bgp/exabgp.conf):
  process oca {
    run /usr/local/bin/oca routes --file /var/lib/oca/routes.json;
    encoder json;
  }
  neighbor 192.0.2.1 {
    router-id 192.0.2.10;
    local-address 192.0.2.10;
    local-as 64510;
    peer-as 64500;
    capability { graceful-restart 120; route-refresh enable; }
    family { ipv4 unicast; ipv6 unicast; }
    api {
      processes [ oca ];
      neighbor-changes;
      receive { parsed; open; update; notification; }
    }
  }
\b
In the appliance's configuration:
  [agent]
  routes_file = "/var/lib/oca/routes.json"
\b
Try it by hand (the lines come on stdin, the answer is in the file):
  exabgp validate exabgp.conf
  exabgp_daemon_user=oca exabgp server exabgp.conf
"""


@click.command(epilog=EXAMPLE)
@click.option(
    "--file",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the routes go: the agent's `routes_file`.",
)
@click.option(
    "--hold-s",
    type=click.FloatRange(0, 86_400),
    default=Limits().hold_s,
    show_default=True,
    help="How long routes of a lost session are kept at most; a neighbour may ask for less.",
)
@click.option(
    "--prefixes-max",
    type=click.IntRange(1, ROUTES_MAX),
    default=Limits().prefixes,
    show_default=True,
    help="A neighbour that announces more is refused whole until its next session.",
)
def routes(path: Path, hold_s: float, prefixes_max: int) -> None:
    """Learn by BGP which networks are behind this site: the process of an exabgp.

    exabgp speaks BGP with the site's routers; this command reads its JSON lines from stdin and
    keeps FILE, which the appliance's agent reports to steering within about a second of a change.
    Nothing is ever announced to the routers.

    A neighbour that withdraws, or ends its session on purpose, loses its routes at once. One that
    just falls silent keeps them for its restart time if it knows graceful restart (RFC 4724), else
    not. When exabgp itself ends, the agent believes FILE for another --hold-s.
    """
    from oca.bgp.feed import follow

    log.configure("oca routes")
    follow(path, Limits(hold_s, prefixes_max))
