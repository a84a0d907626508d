"""Whole networks of production nodes on a virtual clock: hearts, engines, ledgers, stores, clients.

What lives here: the world in which scenarios are simulated. What must not be known here: what liars say
(`byzantine.liars`), and what is right (`byzantine.oracles`).
"""
