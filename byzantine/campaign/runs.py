"""One run as a task for any process: a scenario in, a result out, whatever happens.

What lives here: what a campaign's processes do. What must not be known here: where scenarios come from.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from byzantine.runners.results import unfinished
from byzantine.runners.simulated import SIMULATED, simulate
from byzantine.scenario import Contradiction, Scenario
from byzantine.simulation.recorder import Recorder
from byzantine.trace import Event
from byzantine.verdicts import Result

LONGEST_CPU_S = 300.0
"""What a run may take of a core: a hundred times what the longest do. One that goes round in circles is ended
by this; no other run is, so that the same seed still gives the same trace."""


class Endless(BaseException):
    """A run took longer than any should. Nothing that a replica does may catch it."""


def judged(
    scenario: Scenario, recorder: Recorder | None = None, cpu_seconds: float = LONGEST_CPU_S
) -> Result:
    """Simulate and judge. A run that the simulator itself could not finish is inconclusive, and says why."""
    try:
        with _at_most(cpu_seconds):
            return simulate(scenario, recorder)
    except Endless:
        return unfinished(
            scenario, SIMULATED, f"not finished after {cpu_seconds:.0f} s of a core", cpu_seconds
        )
    except Contradiction:
        raise
    except Exception as error:  # noqa: BLE001  # a campaign of thousands goes on, and reports this one
        return unfinished(scenario, SIMULATED, f"{type(error).__name__}: {error} ({_where(error)})")


def lost(scenario: Scenario) -> Result:
    """Return the result of a run whose process was lost, when it was run again as well."""
    return unfinished(scenario, SIMULATED, "the process that simulated it was lost, twice")


@contextmanager
def _at_most(cpu_seconds: float) -> Iterator[None]:
    """Raise `Endless` in a block that takes more of a core; where signals cannot be had, it may."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Endless

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


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
