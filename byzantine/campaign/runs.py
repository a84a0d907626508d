"""One run as a task for any process: a scenario in, a result out, whatever happens.

What lives here: what a campaign's processes do. What must not be known here: where scenarios come from.
"""

from byzantine.runners.results import unfinished
from byzantine.runners.simulated import SIMULATED, simulate
from byzantine.scenario import Contradiction, Scenario
from byzantine.simulation.recorder import Recorder
from byzantine.trace import Event
from byzantine.verdicts import Result


def judged(scenario: Scenario, recorder: Recorder | None = None) -> Result:
    """Simulate and judge. A run that the simulator itself could not finish is inconclusive, and says why."""
    try:
        return simulate(scenario, recorder)
    except Contradiction:
        raise
    except Exception as error:  # noqa: BLE001  # a campaign of thousands goes on, and reports this one
        return unfinished(scenario, SIMULATED, f"{type(error).__name__}: {error} ({_where(error)})")


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
