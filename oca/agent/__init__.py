"""The appliance's agent: what the plan wants comes, what it drops leaves, and everybody is told.

`main` is the life cycle. Pure: `knobs`, `intake`, `diff`, `sources`, `bucket`, `window`, `drops`,
`health`. Edges: `filler` and `fetch` (what comes), `dropper` and `purge` (what leaves), `reports`,
`outbox` and `events` (what is told), `admin` (what is shown).
"""
