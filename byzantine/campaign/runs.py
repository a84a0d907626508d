"""One run as a task for any process: a scenario in, a result out, whatever happens.

What lives here: what a campaign's processes do. What must not be known here: where scenarios come from.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from byzantine.runners.results import unfinished
from byzantine.runners.simulated import SIMULATED, Simulation
from byzantine.scenario import Contradiction, Scenario
from byzantine.simulation.recorder import Recorder
from byzantine.trace import Event
from byzantine.verdicts import Result

LONGEST_CPU_S = 300.0
"""What a run may take of a core: a hundred times what the longest do. One that goes round in circles is ended
by this; no other run is, so that the same seed still gives the same trace."""


AGAIN_S = 5.0
"""After so long it rings again, should an application have caught it."""


class Endless(KeyboardInterrupt):
    """A run took longer than any should. Of the one kind that nothing of a replica's catches."""


def judged(
    scenario: Scenario, recorder: Recorder | None = None, cpu_seconds: float = LONGEST_CPU_S
) -> Result:
    """Simulate and judge. A run that the simulator itself could not finish is inconclusive, and says why.

    Raises `Contradiction`."""
    try:
        run = Simulation(scenario, recorder)
    except Contradiction:
        raise
    except Exception as error:  # noqa: BLE001  # a campaign of thousands goes on, and reports this one
        return unfinished(scenario, SIMULATED, f"{type(error).__name__}: {error} ({_where(error)})")
    too_long = f"not finished after {cpu_seconds:.0f} s of a core"
    try:
        with _at_most(cpu_seconds) as alarm:
            result = run.result()
    except Endless:
        return run.broken_off(too_long)
    except Exception as error:  # noqa: BLE001  # a campaign of thousands goes on, and reports this one
        return run.broken_off(f"{type(error).__name__}: {error} ({_where(error)})")
    # Who swallowed the alarm would have its consequences taken for those of a lie.
    return run.broken_off(too_long) if alarm.rang else result


def lost(scenario: Scenario) -> Result:
    """Return the result of a run whose process was lost, when it was run again as well."""
    return unfinished(scenario, SIMULATED, "the process that simulated it was lost, twice")


class _Alarm:
    """Rings again and again once a block takes too long."""

    def __init__(self) -> None:
        self.rang = False

    def ring(self, _number: int, _frame: FrameType | None) -> None:
        self.rang = True
        raise Endless


@contextmanager
def _at_most(cpu_seconds: float) -> Iterator[_Alarm]:
    """Raise `Endless` in a block that takes more of a core; where signals cannot be had, it may."""
    alarm = _Alarm()
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield alarm
        return
    before = signal.signal(signal.SIGPROF, alarm.ring)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds, max(cpu_seconds, AGAIN_S))
    try:
        yield alarm
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def recorded(scenario: Scenario) -> tuple[Result, tuple[Event, ...]]:
    """Simulate, judge, and return the trace as well."""
    recorder = Recorder()
    result = judged(scenario, recorder)
    return result, tuple(recorder.events)


def _where(error: BaseException) -> str:
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}" if where else ""
