"""The liars: named behaviours that wrap a production replica, and what they share.

What lives here: every entry of the catalogue as an object. What must not be known here: runners and oracles.
"""
