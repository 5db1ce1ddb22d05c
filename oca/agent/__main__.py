"""`python -m oca.agent FILE [PARENT_FD]`: one agent, without the rest of its box."""

from __future__ import annotations

import sys

from oca.agent.main import main
from wire.errors import OcaError

try:
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
except OcaError as exc:
    sys.exit(f"oca agent: {exc}")
