"""Runners: the same scenario in the deterministic simulator, and on real processes.

What lives here: playing a scenario and filling the oracles' observation. What must not be known here: what is
right.
"""
