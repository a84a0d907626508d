"""The catalogue: each attack with its stage, on which it surely happens, and the outcome that must be seen.

What lives here: attacks, numbered as in docs/testing.md, and the scenarios in which they are staged. What
must not be known here: how a behaviour lies, and how a scenario is run.
"""
