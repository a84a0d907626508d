"""Mutants: they fit the code as it is, they are gone afterwards, and each one changes what the product does.

What kills each of them lies in `mutant_killers`.
"""

from collections.abc import Callable

import pytest

from byzantine.mutants import (
    MUTANTS,
    TABLES,
    Edit,
    Mutant,
    MutantError,
    applied,
)
from byzantine.mutants.edit import mutated, put_in_force
from consensus.quorum import Quorums
from crypto import roster
from crypto.digest import ChainId
from crypto.roster import Epoch
from pbft import normal_case, replica
from pbft.messages import Prepare
from tests.byzantine.mutant_killers import KILLERS

RULES = range(1, 34)


def one(*edits: Edit) -> Mutant:
    return Mutant("one-of-a-test", (1,), "Something.", edits)


def test_every_rule_of_the_checklist_has_a_mutant() -> None:
    assert {rule for mutant in MUTANTS.values() for rule in mutant.rules} == set(RULES)


def test_no_two_mutants_have_one_name_and_each_says_what_it_breaks() -> None:
    assert sum(len(table.MUTANTS) for table in TABLES) == len(MUTANTS)
    assert all(
        mutant.breaks.endswith(".") and mutant.name == mutant.name.lower() for mutant in MUTANTS.values()
    )
    assert len({mutant.edits for mutant in MUTANTS.values()}) == len(MUTANTS)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fits_the_code_as_it_is_and_is_gone_afterwards(name: str) -> None:
    functions = [(function, function.__code__) for function, _, _ in mutated(MUTANTS[name].edits)]
    with applied(name) as mutant:
        assert mutant.name == name
        for function, original in functions:
            assert function.__code__ != original
            assert function.__code__.co_qualname == original.co_qualname
    assert all(function.__code__ is original for function, original in functions)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_breaks_what_its_killer_asserts(name: str) -> None:
    killer: Callable[[], object] = KILLERS[name]
    killer()
    with applied(name), pytest.raises((AssertionError, pytest.fail.Exception)):
        killer()


def test_every_killer_is_of_a_mutant() -> None:
    assert KILLERS.keys() == MUTANTS.keys()


def test_whoever_holds_the_function_calls_the_wrong_one() -> None:
    edit = Edit("pbft.normal_case", "on_prepare", "return Ignored.OWN", "return Ignored.UNKNOWN")
    handler = replica.HANDLERS[Prepare]
    before = handler.__code__
    with put_in_force(one(edit)):
        assert handler is normal_case.on_prepare
        assert handler.__code__ is not before
    assert handler.__code__ is before


def test_a_cached_function_forgets_what_it_answered_before_and_after() -> None:
    def told() -> bytes:
        return roster._binding("kind", ChainId(bytes(32)), Epoch(0))

    right = told()
    with put_in_force(one(Edit("crypto.roster", "_binding", "tag(kind)", 'b"wrong"'))):
        assert told().startswith(b"wrong")
    assert told() == right


def test_methods_of_every_kind_and_closures_can_be_edited() -> None:
    edits = (
        Edit("consensus.pool", "Pool.waiting", "return len", "return -len"),
        Edit("consensus.quorum", "Quorums.byzantine", "f = (n - 1) // 3", "f = 0"),
        Edit("pbft.judge", "RecordsJudge._require_key", "if key != expected:", "if key == expected:"),
        Edit("tetrarch.client.inquiries", "Inquiries._later", "self._timers.discard(timer)", "pass"),
    )
    with put_in_force(one(*edits)):
        assert Quorums.byzantine(4).f == 0
    assert Quorums.byzantine(4).f == 1


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit("pbft.timing", "timeout", "x", "y"), "pbft.timing has no timeout"),
        (Edit("pbft.timing", "Relay", "x", "y"), "is no function of that module"),
        (Edit("pbft.view_change", "batches.supply", "x", "y"), "is no function of that module"),
        (
            Edit("pbft.view_change", "timeout", "what went away", "y"),
            "holds 0 times, not once: what went away",
        ),
        (Edit("pbft.view_change", "timeout", "state", "y"), "holds 4 times, not once: state"),
        (Edit("pbft.view_change", "timeout", "return", "return return"), "does not compile when edited"),
        (
            Edit("pbft.view_change", "timeout", "timeout(state: State)", "timeout()"),
            "takes or encloses something else",
        ),
    ],
)
def test_an_edit_that_does_not_fit_says_so_and_nothing_is_changed(edit: Edit, why: str) -> None:
    good = Edit("pbft.normal_case", "on_prepare", "return Ignored.OWN", "return Ignored.UNKNOWN")
    before = normal_case.on_prepare.__code__
    with pytest.raises(MutantError, match=why), put_in_force(one(good, edit)):
        pytest.fail("it was put in force")
    assert normal_case.on_prepare.__code__ is before


def test_an_unknown_name_is_answered_with_those_that_are_alike() -> None:
    with pytest.raises(MutantError, match="no mutant 'lowest-view-win'; did you mean lowest-view-wins"):
        applied("lowest-view-win")


def test_two_mutants_at_a_time_are_refused_and_the_first_stays_in_force() -> None:
    before = normal_case.deliver.__code__
    with applied("skip-null-requests"):
        with (
            pytest.raises(MutantError, match="skip-null-requests is in force already"),
            applied("count-votes"),
        ):
            pytest.fail("it was put in force")
        assert normal_case.deliver.__code__ is not before
    with applied("count-votes"):
        assert normal_case.deliver.__code__ is before


def test_a_mutant_is_gone_where_what_ran_under_it_raised() -> None:
    before = normal_case.deliver.__code__
    with pytest.raises(ZeroDivisionError), applied("skip-null-requests"):
        raise ZeroDivisionError
    assert normal_case.deliver.__code__ is before
