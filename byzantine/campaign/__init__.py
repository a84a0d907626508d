"""Campaigns: random scenarios by seed, many at a time on all cores, failures shrunk and kept for replay.

What lives here: making, running, shrinking and keeping scenarios. What must not be known here: what a
scenario's behaviours and oracles do.
"""
