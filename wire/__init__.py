"""What another process can see: ids, bodies, tokens, problems, knobs. No decisions live here.

A thing belongs in `wire` only if another process (a peer, a player, a dashboard, an operator's
file) would break when it changed. Messages are read tolerantly: unknown fields are ignored,
missing ones are a clear error, and fields are only ever added, with defaults.
"""
