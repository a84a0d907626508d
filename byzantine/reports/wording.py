"""The words that all reports share: cleaned text, durations, and how a run is repeated."""

import shlex
import unicodedata
from collections.abc import Callable, Mapping

from byzantine.verdicts import Result, Verdict

Replay = Callable[[Result], str]
"""Gives the command that repeats a run."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that move a cursor, turn text around, or that XML and terminals cannot show."""

YES_NO = {Verdict.PASS: "yes", Verdict.FAIL: "no", Verdict.INCONCLUSIVE: "?"}


def clean(text: str) -> str:
    """Return text on one line, with a mark for each character that would not print as itself."""
    if text.isascii() and text.isprintable():
        return text
    spaced = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(sign) in _UNPRINTABLE else sign for sign in spaced)


def duration(milliseconds: float) -> str:
    """Return a time for people: 40 ms, 1.2 s, 3 min 5 s."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def moment(microseconds: int) -> str:
    """Return a time since the run began, exact enough to tell two messages apart."""
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3f} ms"
    return f"{microseconds / 1_000_000:,.6f} s"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 run, 1,200 runs."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def live(result: Result) -> str:
    """Return whether the run converged, and how long that took."""
    if result.live is Verdict.PASS and result.recovered_ms is not None:
        bound = "" if result.within_ms is None else f" of {duration(result.within_ms)}"
        return f"yes, {duration(result.recovered_ms)}{bound}"
    return YES_NO[result.live]


def fired(counts: Mapping[str, int]) -> str:
    """Return how often each behaviour fired."""
    return ", ".join(f"{clean(name)} {count:,}" for name, count in counts.items())


def fired_by(result: Result) -> str:
    """Return how often each behaviour fired at each who has it; empty where it was at most one of them."""
    if len(result.fired_by) < 2:
        return ""
    return "; ".join(f"{clean(who)}: {fired(counts)}" for who, counts in result.fired_by.items())


def named(ids: tuple[int, ...]) -> str:
    """Return members by what they are, so that 0 is no number of them: replica 0, replicas 0 and 1."""
    names = [str(member) for member in ids]
    if len(names) < 2:
        return "".join(f"replica {name}" for name in names)
    return f"replicas {', '.join(names[:-1])} and {names[-1]}"


def slandered(result: Result) -> tuple[int, ...]:
    """Return the members that are blamed and never lied."""
    return tuple(member for member in result.blamed if member not in result.liars)


def idle(result: Result) -> tuple[str, ...]:
    """Return the behaviours that never fired."""
    return tuple(name for name, count in result.fired.items() if not count)


def replay_command(result: Result, path: str | None = None) -> str:
    """Return the command that repeats a run whose replay file is not at hand; `path`: its scenario's."""
    name = shlex.quote(clean(result.name if path is None else path))
    size = "" if result.n == 4 or path is not None else f" --replicas {result.n}"
    runner = "" if result.runner == "simulated" else f" --runner {shlex.quote(clean(result.runner))}"
    return f"tetrarch attack run {name}{size} --seed {result.seed}{runner}"
