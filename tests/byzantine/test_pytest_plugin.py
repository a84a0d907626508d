"""The pytest plugin: a project of a user's own, run with and without attacks, by another pytest."""

import subprocess
import sys
from pathlib import Path

import pytest

# Loaded here, and so not again by every project: the store's library may be loaded once in a process.

pytest_plugins = ("pytester",)

EXAMPLE = Path(__file__).parents[2] / "examples" / "auction"

VOTING = '''
from ledger.application import Invalid

class Voting:
    """Counts votes."""

    def __init__(self, parameters):
        self.options = parameters.get("options", "yes no").split()

    def check(self, payload):
        if payload.decode() not in self.options:
            raise Invalid("there is no such option")

    def execute(self, context, payload, state):
        votes = int(state.get(payload) or b"0") + 1
        state.put(payload, b"%d" % votes)
        return b"%d" % votes

    def query(self, question, state):
        return state.get(question) or b"0"
'''

HASTY = VOTING.replace(
    "return b", "import random\n        return b'%d' % random.getrandbits(60)\n        return b"
)
UNORDERED = VOTING.replace(
    'return b"%d" % votes',
    'return " ".join({f"{name} {votes}" for name in "abcdefgh"}).encode().join([b\'"\'] * 2)',
)

TEST = """
def test_votes_are_counted(client):
    for number in range(6):
        receipt = client.submit(b"yes")
    assert receipt.value == 6
    assert client.query(b"yes", min_height=receipt.height).value == 6
"""

FAULTY = VOTING.replace(
    'state.put(payload, b"%d" % votes)',
    "assert votes < 2, f'{votes} votes'; state.put(payload, b'%d' % votes)",
)

TWO_VOTES = """
def test_two_votes(client):
    codes = [str(client.submit(b"yes").result.code) for _ in range(3)]
    assert codes == ["ok", "error", "error"]
"""

ANY_RESULT = """
import contextlib
import tetrarch

def test_votes_are_sent(client):
    with contextlib.suppress(tetrarch.OutcomeUnknown):
        client.submit(b"yes", timeout=5)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with an application and one test."""
    pytester.makeini("[pytest]\ntetrarch_application = voting:Voting\nfilterwarnings = error\n")
    pytester.makepyfile(voting=VOTING, test_voting=TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


# Without attacks.


def test_tests_run_on_an_honest_network(project: pytest.Pytester) -> None:
    result = run(project, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_votes_are_counted PASSED*"])
    result.stdout.no_fnmatch_line("*= tetrarch =*")


def test_the_marker_says_what_the_network_is(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_voting="""
        import pytest, tetrarch
        from voting import Voting

        @pytest.mark.tetrarch(application=Voting, replicas=7, seed=3, parameters={"options": "left right"})
        def test_options(network, client, audit):
            assert (network.n, network.f, network.scenario.seed) == (7, 2, 3)
            assert client.submit(b"left").value == 1
            with pytest.raises(tetrarch.Rejected):
                client.submit(b"yes")
            assert {finding.verdict for finding in audit()} == {"pass"}

        @pytest.mark.tetrarch(application="kv")
        def test_kv(client, faults):
            faults.crash(1)
            assert client.submit({"op": "put", "key": "a", "value": "1"}).value is True
        """
    )
    run(project).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "what"),
    [
        ("replicas=3", "*replicas*>= 4*"),
        ("size=4", "*unknown: size*"),
        ("allow_application_errors=1", "*allow_application_errors*`bool`*"),
        ("application='nowhere:Voting'", "*nowhere*cannot be imported*"),
    ],
)
def test_a_marker_that_cannot_be_is_an_error(project: pytest.Pytester, marker: str, what: str) -> None:
    project.makepyfile(
        test_voting=f"import pytest\n\n@pytest.mark.tetrarch({marker})\ndef test_it(client):\n    pass\n"
    )
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"no network can be made for this test: {what}"])
    result.stdout.no_fnmatch_line("During handling of the above exception*")


def test_markers_of_a_module_a_class_and_a_test_add_up(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\n")
    project.makepyfile(
        test_voting="""
        import pytest

        pytestmark = pytest.mark.tetrarch(application="voting:Voting", parameters={"options": "left"}, seed=3)

        @pytest.mark.tetrarch(replicas=7)
        class TestIt:
            @pytest.mark.tetrarch(seed=4)
            def test_options(self, network, client):
                assert (network.n, network.scenario.seed) == (7, 4)
                assert client.submit(b"left").value == 1

            @pytest.mark.tetrarch(application="kv")
            def test_parameters_are_the_applications_own(self, network, client):
                assert (network.n, network.scenario.seed) == (7, 3)
                assert client.submit({"op": "put", "key": "a", "value": "1"}).value is True
        """
    )
    run(project).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("ini", "arguments", "header"),
    [
        ("tetrarch_application = voting:Voting", (), "application voting:Voting; attacks: 0"),
        ("", ("--byzantine=censor",), "application kv (*tetrarch_application*); attacks: 1"),
    ],
)
def test_the_header_says_which_application_networks_run(
    project: pytest.Pytester, ini: str, arguments: tuple[str, ...], header: str
) -> None:
    project.makeini(f"[pytest]\n{ini}\n")
    run(project, "--collect-only", *arguments).stdout.fnmatch_lines([f"tetrarch: {header}"])


def test_the_header_says_nothing_where_nobody_asked(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\n")
    run(project, "--collect-only").stdout.no_fnmatch_line("tetrarch:*")


@pytest.mark.parametrize("application", [HASTY, UNORDERED], ids=["random", "a set's order"])
def test_an_application_that_is_not_deterministic_is_caught(
    project: pytest.Pytester, application: str
) -> None:
    project.makepyfile(voting=application, test_voting=ANY_RESULT)
    result = run(project, "--byzantine-seed=7")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_votes_are_sent*",
            "the audit of the network failed (honest, application voting:Voting, 4 replicas, seed 7):",
            "repeat it: pytest test_voting.py::test_votes_are_sent --byzantine-seed=7",
        ]
    )


def test_a_test_that_fails_is_judged_as_well(project: pytest.Pytester) -> None:
    project.makepyfile(voting=HASTY, test_voting=ANY_RESULT + "    assert False\n")
    result = run(project, "--byzantine-seed=7")
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*= FAILURES =*",
            "honest, application voting:Voting, 4 replicas, seed 7;"
            " repeat it: pytest *::test_votes_are_sent --byzantine-seed=7",
        ]
    )


@pytest.mark.parametrize("strict", [(), ("--byzantine-strict",)])
def test_an_oracle_that_could_not_look_fails_the_test(
    project: pytest.Pytester, strict: tuple[str, ...]
) -> None:
    project.makeconftest(
        """
        import sys, types, voting

        here = sys.modules["only_here"] = types.ModuleType("only_here")
        here.Voting = voting.Voting
        """
    )
    project.makeini("[pytest]\ntetrarch_application = only_here:Voting\npythonpath = .\n")
    result = run(project, *strict)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["  determinism (inconclusive, which is no pass): *only_here*cannot be imported*"]
    )


def test_a_test_may_finish_its_network_and_what_it_does_afterwards_is_judged_as_well(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        voting=FAULTY.replace(
            "assert votes < 2, f'{votes} votes'", "self.votes = getattr(self, 'votes', 0) + 1"
        ).replace('return b"%d" % votes', 'return b"%d" % self.votes'),
        test_voting="""
        def test_it(network, client):
            client.submit(b"yes")
            assert {finding.verdict for finding in network.finish()} == {"pass"}
            client.submit(b"yes")
        """,
    )
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["  validity: block *: * came to ok 2, and executed anew to ok 1"])


# What an application raises.


def test_what_execute_raises_fails_the_test_and_is_shown_with_its_traceback(project: pytest.Pytester) -> None:
    project.makepyfile(voting=FAULTY, test_voting=TWO_VOTES)
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "  application: execute raised AssertionError: 2 votes at *.py:* (transaction *, and 1 more)",
            "repeat it: *",
            "*Captured application errors teardown*",
            '  File "*voting.py", line *, in execute',
            "    assert votes < 2, f'{votes} votes'*",
            "AssertionError: 2 votes",
        ]
    )
    result.stdout.no_fnmatch_line("*executor.py*")


def test_what_is_no_result_says_why(project: pytest.Pytester) -> None:
    project.makepyfile(
        voting=VOTING.replace('return b"%d" % votes', "return votes"),
        test_voting="def test_it(client):\n    assert client.submit(b'yes').result.code == 'error'\n",
    )
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*execute raised *LimitBroken: a result is bytes, not int (transaction *)"])


def test_what_query_raises_fails_the_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        voting=VOTING.replace("return state.get(question)", "return {}[question]"),
        test_voting="""
        import pytest, tetrarch

        def test_it(client):
            with pytest.raises(tetrarch.TetrarchError):
                client.query(b"yes", timeout=1)
        """,
    )
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["  application: query raised KeyError: b'yes' at *voting.py:* (question b'yes')"]
    )


def test_what_check_raises_is_shown_where_a_test_fails_and_fails_none(project: pytest.Pytester) -> None:
    project.makepyfile(
        voting=VOTING.replace("payload.decode() not in self.options", "payload.decode('ascii') == 'no'"),
        test_voting="""
        import pytest, tetrarch

        def test_refused(client):
            with pytest.raises(tetrarch.Rejected):
                client.submit("\u00e9".encode())

        def test_failing(client):
            client.submit("\u00e9".encode())
        """,
    )
    result = run(project)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["check raised UnicodeDecodeError: *", '  File "*voting.py", line *, in check']
    )


@pytest.mark.parametrize("by", ["ini", "marker"])
def test_what_an_application_raises_may_be_allowed(project: pytest.Pytester, by: str) -> None:
    marker = "import pytest\n\n@pytest.mark.tetrarch(allow_application_errors=True)"
    project.makepyfile(voting=FAULTY, test_voting=TWO_VOTES if by == "ini" else marker + TWO_VOTES)
    if by == "ini":
        ini = "[pytest]\ntetrarch_application = voting:Voting\ntetrarch_allow_application_errors = true\n"
        project.makeini(ini)
    run(project).assert_outcomes(passed=1)


def test_researchers_run_scenarios_of_their_own(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_scenarios="""
        from byzantine.attacks.catalogue import find_attack

        def test_scenarios(simulator):
            scenario = find_attack("equivocate").scenario(4, 1)
            assert simulator.simulate(scenario).failed == ()
            network = simulator.make(scenario)
            for number in range(6):
                network.client().submit({"op": "put", "key": "a", "value": str(number)})
            assert network.fired["equivocate"] > 0
        """
    )
    run(project, "-k", "scenarios").assert_outcomes(passed=1)


# With attacks.


def test_each_test_runs_honestly_and_beside_each_attack(project: pytest.Pytester) -> None:
    result = run(project, "--byzantine=equivocate,censor", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            *(f"*test_votes_are_counted[[]{name}[]] PASSED*" for name in ("honest", "equivocate", "censor")),
            "*= tetrarch =*",
            "censor * fired in 1 of 1",
            "equivocate * fired in 1 of 1",
        ]
    )
    result.stdout.no_fnmatch_line("*inconclusive*")


def test_a_group_can_be_named_and_tests_chosen(project: pytest.Pytester) -> None:
    result = run(project, "--byzantine=group:primary", "--collect-only", "-q", "-k", "honest or censor")
    assert [line for line in result.outlines if "::" in line] == [
        "test_voting.py::test_votes_are_counted[honest]",
        "test_voting.py::test_votes_are_counted[censor]",
    ]


def test_what_no_network_bears_runs_only_where_it_is_named(project: pytest.Pytester) -> None:
    def collected(option: str) -> str:
        return run(project, option, "--collect-only", "-q").stdout.str()

    assert "[more-than-f]" not in collected("--byzantine")
    assert "[more-than-f]" not in collected("--byzantine=group:collusion")
    assert "[more-than-f]" in collected("--byzantine=more-than-f")


def test_other_tests_run_once(project: pytest.Pytester) -> None:
    project.makepyfile(test_other="def test_other():\n    pass\n")
    run(project, "--byzantine=all", "test_other.py").assert_outcomes(passed=1)


def test_fixtures_of_the_projects_own_with_these_names_are_left_alone(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_other="""
        import pytest

        @pytest.fixture
        def client():
            return "a web client"

        def test_other(client):
            assert client == "a web client"
        """
    )
    run(project, "--byzantine=all", "test_other.py").assert_outcomes(passed=1)


IDLE = "def test_idle(network):\n    pass\n"


def test_an_attack_that_never_fired_is_told(project: pytest.Pytester) -> None:
    project.makepyfile(test_voting=IDLE)
    result = run(project, "--byzantine=wrong-digest")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "wrong-digest * fired in 0 of 1",
            "*never in test_voting.py::test_idle[[]wrong-digest[]] (wrong-digest)",
            "in 1 of 2 something never fired*",
        ]
    )


def test_an_attack_that_never_fired_fails_where_one_is_strict(project: pytest.Pytester) -> None:
    project.makepyfile(test_voting=IDLE)
    result = run(project, "--byzantine=wrong-digest", "--byzantine-strict")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*outcome: wrong-digest never fired, so the test says nothing about it",
            "repeat it: pytest 'test_voting.py::test_idle[[]wrong-digest[]]' --byzantine=wrong-digest"
            " --byzantine-seed=0 --byzantine-strict",
        ]
    )


def test_the_command_that_is_told_repeats_the_failure(project: pytest.Pytester) -> None:
    project.makepyfile(voting=HASTY, test_voting=ANY_RESULT)
    said = run(project, "--byzantine=censor", "-k", "censor").outlines
    command = next(line for line in said if line.startswith("repeat it: pytest "))
    arguments = command.removeprefix("repeat it: pytest ").replace("'", "").split()
    run(project, *arguments).assert_outcomes(passed=1, errors=1)


def test_tests_can_be_spread_over_processes(project: pytest.Pytester) -> None:
    project.makepyfile(test_idle=IDLE)
    result = project.runpytest_subprocess("--byzantine=censor", "-n", "2")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["censor * fired in 1 of 2", "*never in test_idle.py::test_idle[[]censor[]] (censor)"]
    )


# Options.


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("--byzantine=equivocat", "*no attack called 'equivocat'; did you mean equivocate*"),
        ("--byzantine=group:primry", "*no group 'primry': *primary*"),
        ("--byzantine=,", "*names no attack*"),
        ("--byzantine-seed=-1", "*--byzantine-seed: from 0*"),
    ],
)
def test_what_is_unknown_is_a_usage_error(project: pytest.Pytester, option: str, what: str) -> None:
    result = run(project, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([what])


def test_a_path_taken_for_a_name_is_told(project: pytest.Pytester) -> None:
    result = run(project, "--byzantine", "test_voting.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_voting.py is a path: write --byzantine=all*"])


def test_help_has_a_group_of_its_own(project: pytest.Pytester) -> None:
    result = run(project, "--help")
    result.stdout.fnmatch_lines(
        ["tetrarch*:", "*--byzantine=*NAMES*", "*--byzantine-strict*", "*tetrarch_application*"]
    )


# What it costs others.

COSTS = """
import sys
import byzantine.pytest_plugin
ours = ("crypto", "consensus", "pbft", "ledger", "network", "tetrarch", "msgspec", "nacl", "rocksdict")
print([name for name in sys.modules if name.partition(".")[0] in ours])
"""


def test_who_runs_other_tests_pays_for_one_file() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", COSTS], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert loaded.strip() == "[]"


# The example.


def test_the_example_passes_honestly_and_beside_an_attack(pytester: pytest.Pytester) -> None:
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (pytester.path / file.name).write_bytes(file.read_bytes())
    result = run(pytester, "--byzantine=exclude")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["exclude * fired in 4 of 4"])
