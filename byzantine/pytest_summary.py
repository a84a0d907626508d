"""What the pytest plugin tells at the end: which attacks fired in which tests.

What lives here: keeping what tests told, and the lines of it. What must not be known here: how networks run.
"""

import pytest

HONEST = "honest"
"""The behaviour of a network in which nobody lies."""

PROPERTIES = ("tetrarch_attack", "tetrarch_fired", "tetrarch_silent")
"""What a test's report carries, from whichever process ran it: for the summary, and for JUnit XML."""

LISTED = 5
"""Tests listed for one attack, unless pytest is verbose."""


class Summary:
    """Tells at the end which attacks fired in which tests. With pytest-xdist in the controlling process."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._told: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test told."""
        told = {name: str(value) for name, value in report.user_properties if name in PROPERTIES}
        if report.when == "teardown" and told:
            self._told[report.nodeid] = told

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write what was kept."""
        if not self._told:
            return
        attack, _, silent = PROPERTIES
        terminalreporter.section("tetrarch")
        # In one order, whichever process was done first.
        for name in sorted({told[attack] for told in self._told.values()}):
            tests = {test: told for test, told in sorted(self._told.items()) if told[attack] == name}
            never = [f"{test} ({told[silent]})" for test, told in tests.items() if silent in told]
            if name != HONEST:
                fired = f"fired in {len(tests) - len(never)} of {len(tests)}"
                terminalreporter.line(f"{name:28} {fired}", yellow=bool(never))
                self._list(terminalreporter, "never in", never)
        open_ = sum(silent in told for told in self._told.values())
        if open_:
            terminalreporter.line(
                f"in {open_} of {len(self._told)} something never fired, and so was not tested"
                " (longer tests, or faults.run(ms), give it time; --byzantine-strict makes them fail)"
            )

    def _list(self, terminalreporter: pytest.TerminalReporter, what: str, lines: list[str]) -> None:
        shown = lines if self._verbose else lines[:LISTED]
        for line in shown:
            terminalreporter.line(f"    {what} {line}")
        if len(lines) > len(shown):
            terminalreporter.line(f"    and in {len(lines) - len(shown)} more (-v lists all)")
