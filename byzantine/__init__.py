"""Liars for testing: behaviours, scenarios, campaigns, oracles and reports.

Knows every other package; no package knows this one.
"""
