"""The pytest plugin: a user's own tests, on their own application, while members lie.

What lives here: options, the marker, fixtures, and what failed tests tell. What must not be known here: what
an attack does, how a network runs. Nothing of Tetrarch is imported before a test asks for a network, or
attacks are chosen: a run of anything else pays for this file and the summary's alone.

`pytest --byzantine=equivocate,censor` runs every test that uses `network` or `client` once on an honest
network and once beside each attack. At the end of each such test all faults end, convergence is demanded, and
all oracles are asked.
"""

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from byzantine.pytest_summary import HONEST, PROPERTIES, Summary

if TYPE_CHECKING:
    from byzantine.oracles.elsewhere import Elsewhere
    from byzantine.scenario import Scenario
    from byzantine.simulation.faults import Faults
    from byzantine.simulation.session import Session
    from byzantine.simulation.session_client import SessionClient
    from byzantine.verdicts import Finding, Result

MARKER = (
    "tetrarch(application='module:Class', replicas=4, seed=0, parameters={}, allow_application_errors=False):"
    " the network of a test that uses the fixtures network or client"
)

MARKED = ("application", "replicas", "seed", "parameters", "allow_application_errors")

DEFAULT_APPLICATION = "kv"

chosen_attacks: pytest.StashKey[list[str]] = pytest.StashKey()
elsewhere_key: "pytest.StashKey[Elsewhere]" = pytest.StashKey()

LEAST_BOUND_MS = 60_000
"""For convergence: a stage's bound may be tighter, but it is of the stage's own work and faults."""


# Options.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the group of options."""
    group = parser.getgroup("tetrarch", "tetrarch: tests on networks in which members lie")
    group.addoption(
        "--byzantine",
        nargs="?",
        const="all",
        metavar="NAMES",
        help="run every test that uses the fixtures network or client honestly, and beside each attack:"
        " all (the default), NAME,NAME,... or group:GROUP (`tetrarch attack list` shows them)",
    )
    group.addoption(
        "--byzantine-seed", type=int, metavar="N", help="the seed of networks and attacks [default: 0]"
    )
    group.addoption(
        "--byzantine-strict",
        action="store_true",
        help="an attack that never fired fails the test: it was not tested",
    )
    parser.addini(
        "tetrarch_application", "the application of networks in tests: module:Class [default: kv]", default=""
    )
    parser.addini(
        "tetrarch_allow_application_errors",
        "whether tests pass though the application raised what it should not [default: false]",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find what was chosen. Raises `UsageError`."""
    config.addinivalue_line("markers", MARKER)
    config.pluginmanager.register(Summary(config.get_verbosity() > 0), "tetrarch-summary")
    seed = config.getoption("byzantine_seed")
    if seed is not None and not 0 <= seed < 2**53:
        raise pytest.UsageError(f"--byzantine-seed: from 0 to {2**53 - 1}, not {seed}")
    names = config.getoption("byzantine")
    if names is not None:
        config.stash[chosen_attacks] = _chosen(names)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what networks in tests run, where anybody has set anything of it."""
    attacks = config.stash.get(chosen_attacks, None)
    named = config.getini("tetrarch_application")
    if attacks is None and not named:
        return None
    application = named or f"{DEFAULT_APPLICATION} (the setting tetrarch_application names another)"
    return f"tetrarch: application {application}; attacks: {len(attacks or ())}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started."""
    other = config.stash.get(elsewhere_key, None)
    if other is not None:
        other.close()


def _chosen(names: str) -> list[str]:
    """Return the attacks that the option names, in the catalogue's order. Raises `UsageError`."""
    from byzantine.attacks.catalogue import ATTACKS, UnknownAttack, find_attack

    # More liars than a network bears break it, and the tests: only who names such an attack gets it.
    borne = [attack for attack in ATTACKS.values() if attack.scenario(4, 0).expect.safe]
    groups = {attack.group for attack in ATTACKS.values()}
    chosen = set()
    for name in filter(None, (part.strip() for part in names.split(","))):
        kind, _, group = name.partition(":")
        if name == "all":
            chosen |= {attack.name for attack in borne}
        elif kind == "group":
            if group not in groups:
                known = ", ".join(sorted(groups))
                raise pytest.UsageError(f"--byzantine: there is no group {group!r}: {known}")
            chosen |= {attack.name for attack in borne if attack.group == group}
        else:
            try:
                chosen.add(find_attack(name).name)
            except UnknownAttack as error:
                path = f" ({name} is a path: write --byzantine=all)" if Path(name).exists() else ""
                raise pytest.UsageError(f"--byzantine: {error}{path}") from None
    if not chosen:
        raise pytest.UsageError("--byzantine: names no attack; `tetrarch attack list` shows all")
    return [name for name in ATTACKS if name in chosen]


# Tests.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each attack, and before that honestly."""
    attacks = metafunc.config.stash.get(chosen_attacks, None)
    if attacks is not None and "byzantine_behaviour" in metafunc.fixturenames:
        metafunc.parametrize("byzantine_behaviour", [HONEST, *attacks], indirect=True)


@pytest.fixture
def byzantine_behaviour(request: pytest.FixtureRequest) -> str:
    """The attack that the test's network is under; `honest` for none."""
    return str(getattr(request, "param", HONEST))


@pytest.fixture
def network(request: pytest.FixtureRequest, byzantine_behaviour: str) -> "Iterator[Session]":
    """A running network (`byzantine.simulation.session.Session`). When the test is over all faults end, it
    must converge, and it is judged."""
    from byzantine.scenario import Contradiction
    from ledger.errors import ApplicationError

    try:
        scenario = _scenario(request.node, byzantine_behaviour)
        session = _opened(request.config, scenario)
    except (Contradiction, ApplicationError, ValueError) as error:
        why = f"no network can be made for this test: {error}"
        # Not pytest.fail, which would tell of the first error as well: it is the same.
        raise pytest.fail.Exception(why, pytrace=False) from None
    # Shown where the test itself fails, as under an attack it may.
    how = _in_words(byzantine_behaviour, session)
    command = _command(request.node, byzantine_behaviour)
    request.node.add_report_section("setup", "network", f"{how}; repeat it: {command}")
    with session:
        yield session
        _conclude(request.node, byzantine_behaviour, session)


@pytest.fixture
def client(network: "Session") -> "SessionClient":
    """A client of the test's network, with the calls and errors of `tetrarch.Client`."""
    return network.client()


@pytest.fixture
def faults(network: "Session") -> "Faults":
    """What hurts the test's network (`byzantine.simulation.faults.Faults`)."""
    return network.faults


@pytest.fixture
def audit(network: "Session") -> "Callable[[], tuple[Finding, ...]]":
    """Asks all oracles what they find in the test's network now; the same happens when the test is over."""
    return network.audit


class Simulator:
    """Runs scenarios of one's own."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._made: list[Session] = []

    def make(self, scenario: "Scenario") -> "Session":
        """Return a running network with the scenario's faults and lies, for the test to drive. Nothing is
        judged unless `audit` or `finish` is called."""
        session = _opened(self._config, scenario)
        self._made.append(session)
        return session

    def simulate(self, scenario: "Scenario") -> "Result":
        """Run a scenario with the work that is in it, and return its result."""
        from byzantine.runners.simulated import simulate

        return simulate(scenario)

    def close(self) -> None:
        """Close what was made."""
        for session in self._made:
            session.close()


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """For researchers: runs scenarios of one's own."""
    simulator = Simulator(request.config)
    yield simulator
    simulator.close()


def _scenario(item: pytest.Item, behaviour: str) -> "Scenario":
    """Return what is staged for a test. Raises `ValueError` for a marker that cannot be."""
    from msgspec import structs, to_builtins

    from byzantine.attacks.catalogue import find_attack
    from byzantine.attacks.stage import QUIET
    from byzantine.scenario import Scenario
    from byzantine.scenario_file import scenario_of

    marked = _marked(item)
    application = marked.get("application") or item.config.getini("tetrarch_application")
    application = application or DEFAULT_APPLICATION
    if isinstance(application, type):
        application = f"{application.__module__}:{application.__qualname__}"
    replicas, parameters, seed = marked.get("replicas", 4), marked.get("parameters", {}), _seed(item)
    if behaviour == HONEST:
        scenario = Scenario(name=HONEST, replicas=replicas, seed=seed, links=QUIET)
    else:
        scenario = find_attack(behaviour).scenario(replicas, seed)
    bound = scenario.expect.live_within_ms
    expect = structs.replace(scenario.expect, live_within_ms=bound and max(bound, LEAST_BOUND_MS))
    scenario = structs.replace(scenario, application=application, parameters=parameters, expect=expect)
    return scenario_of(to_builtins(scenario), "the marker tetrarch", worked=False)


def _marked(item: pytest.Item) -> dict[str, Any]:
    """Return what the markers of a test, its class and its module say together; the nearer one wins. Raises
    `ValueError`."""
    markers = list(item.iter_markers("tetrarch"))
    marked: dict[str, Any] = {}
    for marker in reversed(markers):
        if "application" in marker.kwargs:
            # Parameters are an application's own.
            marked.pop("parameters", None)
        marked |= marker.kwargs
    unknown = [name for name in marked if name not in MARKED]
    unknown += [repr(each) for marker in markers for each in marker.args]
    if unknown:
        raise ValueError(f"the marker is {MARKER}; unknown: {', '.join(unknown)}")
    if not isinstance(marked.get("allow_application_errors", False), bool):
        raise ValueError("the marker tetrarch: allow_application_errors: expected `bool`")
    return marked


def _seed(item: pytest.Item) -> int:
    """The option's; else the marker's; else 0."""
    given = item.config.getoption("byzantine_seed")
    return int(_marked(item).get("seed", 0) if given is None else given)


def _opened(config: pytest.Config, scenario: "Scenario") -> "Session":
    from byzantine.oracles.elsewhere import Elsewhere
    from byzantine.simulation.session import Session

    return Session(scenario, elsewhere=config.stash.setdefault(elsewhere_key, Elsewhere()))


# The end.


def _conclude(item: pytest.Item, behaviour: str, session: "Session") -> None:
    """Heal, demand convergence, judge; a test fails by what is found."""
    try:
        findings = session.finish()
    except Exception as error:
        error.add_note(f"repeat it: {_command(item, behaviour)}")
        raise
    finally:
        _show_application_faults(item, session)
    silent = session.silent
    fired = ", ".join(f"{name} {session.fired.get(name, 0)}" for name in session.behaviours)
    if item.config.stash.get(chosen_attacks, None) is not None:
        told = (behaviour, fired, ", ".join(silent))
        item.user_properties += [pair for pair in zip(PROPERTIES, told, strict=True) if pair[1]]
    wrong = [*_no_pass(findings), *_application_errors(item, session)]
    if item.config.getoption("byzantine_strict"):
        wrong += [f"outcome: {name} never fired, so the test says nothing about it" for name in silent]
    if wrong:
        lines = [f"the audit of the network failed ({_in_words(behaviour, session)}):", *wrong]
        pytest.fail("\n  ".join(lines) + f"\nrepeat it: {_command(item, behaviour)}", pytrace=False)


def _no_pass(findings: "tuple[Finding, ...]") -> list[str]:
    """Return what is no pass, a line each: an oracle that could not look has not found that all is well."""
    from byzantine.verdicts import Verdict

    how = {Verdict.FAIL: "", Verdict.INCONCLUSIVE: " (inconclusive, which is no pass)"}
    return [f"{each.oracle}{how[each.verdict]}: {each.why}" for each in findings if each.verdict in how]


def _application_errors(item: pytest.Item, session: "Session") -> list[str]:
    """Return what the application raised, a line each; nothing where it is allowed."""
    ini = item.config.getini("tetrarch_allow_application_errors")
    errors = [f"application: {each}" for each in session.application_errors]
    if not errors or _marked(item).get("allow_application_errors", ini):
        return []
    return [
        *errors,
        "(tracebacks below; the marker's allow_application_errors=True is for where it is meant)",
    ]


def _show_application_faults(item: pytest.Item, session: "Session") -> None:
    """Have all that the application raised shown where the test fails, `check` included."""
    faults = session.world.observed.application_faults
    shown = [f"{each}\n{each.traceback}" for each in faults.of("execute", "query", "check")]
    if faults.untold:
        shown.append(f"and {faults.untold} others")
    if shown:
        item.add_report_section("teardown", "application errors", "\n".join(shown))


def _in_words(behaviour: str, session: "Session") -> str:
    scenario = session.scenario
    return f"{behaviour}, application {scenario.application}, {session.n} replicas, seed {scenario.seed}"


def _command(item: pytest.Item, behaviour: str) -> str:
    """Return the command that runs this test alone, with the same events."""
    config = item.config
    place = os.path.relpath(item.path, config.invocation_params.dir)
    _, _, name = item.nodeid.partition("::")
    words = ["pytest", f"{place}::{name}"]
    if config.stash.get(chosen_attacks, None) is not None:
        words.append(f"--byzantine={behaviour if behaviour != HONEST else config.stash[chosen_attacks][0]}")
    words.append(f"--byzantine-seed={_seed(item)}")
    if config.getoption("byzantine_strict"):
        words.append("--byzantine-strict")
    return shlex.join(words)
