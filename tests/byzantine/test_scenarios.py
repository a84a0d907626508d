"""Scenario files: what they say is run, and what contradicts itself is refused by the field's name."""

from pathlib import Path

import pytest
from msgspec import structs

from byzantine.attacks.attack import UnknownAttack
from byzantine.attacks.catalogue import find_attack
from byzantine.runners.simulated import simulate
from byzantine.scenario import Contradiction, Expect, Lie, Partition, Scenario, Submit, require_consistent
from byzantine.scenario_file import UnusableFile, load_scenario
from tests.byzantine.runs import short_scenario

GOOD = """
format = 1
name = "two-halves"
replicas = 4
seed = 7
heal_at_ms = 900

[tuning]
request_timeout_ms = 400

[[liars]]
member = 0
[[liars.lies]]
behaviour = "equivocate"
sequences = [2, 5]

[[steps]]
do = "submit"
at_ms = 20
count = 3

[[steps]]
do = "submit"
at_ms = 200
count = 3
client = 1

[[steps]]
do = "crash"
at_ms = 300
member = 2
surviving = 1

[[steps]]
do = "restart"
at_ms = 500
member = 2

[expect]
live_within_ms = 20000
evidence = [0]
view = "changed"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return path


def test_a_scenario_file_is_run(tmp_path: Path) -> None:
    result = simulate(load_scenario(written(tmp_path, GOOD)))
    assert result.failed == ()
    assert (result.name, result.seed, result.blamed) == ("two-halves", 7, (0,))


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("format = 1", "format = 2", "format"),
        ("replicas = 4", "replicas = 3", "replicas"),
        ("replicas = 4", 'replicas = "four"', "replicas"),
        ("seed = 7", "seeds = 7", "seeds"),
        ('do = "crash"', 'do = "explode"', "steps"),
        ("surviving = 1", "surviving = 1\nhow = 2", "how"),
        ("at_ms = 300", "at_ms = 9000", "steps[2].at_ms"),
        ("at_ms = 300\nmember = 2", "at_ms = 300\nmember = 4", "steps[2].member"),
        ("client = 1", "client = 9", "steps[1].client"),
        ("sequences = [2, 5]", "sequences = [5, 2]", "equivocate.sequences"),
        ("sequences = [2, 5]", "from_ms = 9\nto_ms = 8", "equivocate.to_ms"),
        ('behaviour = "equivocate"', 'behaviour = "equivocat"', "behaviour"),
        ("sequences = [2, 5]", "parameters = {by = 2}", "liars[0].lies[0].parameters.by"),
        ("[expect]", '[[hostile_clients]]\nbehaviour = "flod"\n[expect]', "hostile_clients[0].behaviour"),
        (
            "[expect]",
            '[[hostile_clients]]\nbehaviour = "flood"\nparameters = {questions = "many"}\n[expect]',
            "hostile_clients[0].parameters.questions",
        ),
        ("[expect]", '[[hostile_network]]\nbehaviour = "flood"\n[expect]', "hostile_network[0].behaviour"),
        ("replicas = 4", 'replicas = 4\napplication = "no_such_module:App"', "application"),
        (
            "replicas = 4",
            'replicas = 4\napplication = "notary"',
            "application: a scenario's clients have work",
        ),
        ("evidence = [0]", "evidence = [1]", "expect.evidence"),
        ("evidence = [0]", "evidence = [0]\nno_evidence = true", "expect.no_evidence"),
        ('view = "changed"', 'view = "upside-down"', "expect.view"),
        ("[expect]", '[expect]\nfired = ["censor"]', "expect.fired"),
        ("[tuning]", "[tuning", ""),
    ],
)
def test_what_cannot_be_is_refused_and_the_field_named(
    tmp_path: Path, before: str, after: str, field: str
) -> None:
    assert GOOD.count(before) == 1
    path = written(tmp_path, GOOD.replace(before, after))
    with pytest.raises(UnusableFile) as refused:
        load_scenario(path)
    assert field in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            'view = "changed"',
            'view = "upside-down"',
            "expect.view: 'upside-down' is none of any, kept, changed",
        ),
        ('do = "crash"', 'do = "explode"', "steps[2].do: 'explode' is none of "),
        ('do = "crash"', 'do = "explode"', "power-cut"),
        ("replicas = 4", 'signatures = "rsa"', "signatures: 'rsa' is none of stand-in, ed25519"),
        (
            'do = "crash"',
            'do = "disk"\nwhat = "burn"',
            "steps[2].what: 'burn' is none of full, free, flip, lose",
        ),
        ("member = 2\nsurviving", "member = 4\nsurviving", "a network of 4 has members 0 to 3"),
        ("evidence = [0]", "evidence = [7]", "expect.evidence: member 7 does not exist"),
        ("client = 1", "client = 9", "client 9 does not exist: 2 clients are numbered from 0"),
        ("seed = 7", "seeds = 7", "seeds: there is no such field; did you mean seed?"),
        ("[tuning]", "[tuning]\nxyz = 1", "tuning.xyz: there is no such field; there are batch_target, "),
        ("replicas = 4", 'replicas = "four"', "replicas: must be a whole number, and is text"),
        ("replicas = 4", "replicas = 3", "replicas: must be a whole number >= 4"),
        ("live_within_ms = 20000", "live_within_ms = [1]", "must be a whole number, and is a list"),
        ("[[liars]]\nmember = 0", "[[liars]]", "liars[0].member: is missing"),
        ('name = "two-halves"', 'name = "Two halves"', "name: must be lower-case letters"),
        ("sequences = [2, 5]", "sequences = [2]", "sequences: must be a list of length 2, and has 1"),
        ("sequences = [2, 5]", "peers = [9]", "equivocate.peers: member 9 does not exist"),
        ("at_ms = 300", "at_ms = 300.5", "must be a whole number, and is a number with a fraction"),
        ("at_ms = 300", "at_ms = 2020-01-01", "must be a whole number, and is a date"),
        ("[tuning]", "[links]\nlow_us = 9\nhigh_us = 8\n[tuning]", "links.low_us: 9 is above high_us (8)"),
        (
            'do = "crash"\nat_ms = 300\nmember = 2\nsurviving = 1',
            'do = "links"\nhigh_us = 8',
            "steps[2].low_us: ",
        ),
        (
            'do = "crash"\nat_ms = 300\nmember = 2\nsurviving = 1',
            'do = "partition"\ngroups = [[0, 1], [1]]',
            "steps[2].groups: 1 is named twice",
        ),
        (
            'view = "changed"',
            'view = "kept"\nviews = [1, 2]',
            "expect.views: 1 to 2 contradicts view = 'kept'",
        ),
        ("evidence = [0]", "safe = false", "1 of 4 members lie, no more than f = 1: safety is promised"),
        ("seed = 7", "seed = " + 5000 * "9", "is no TOML"),
        ("seed = 7", "seed = " + 5000 * "[", "is nested too deeply"),
        ("seed = 7", '"a\\nb\\u001b" = 7', "a b\ufffd: there is no such field"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert GOOD.count(before) == 1
    with pytest.raises(UnusableFile) as refused:
        load_scenario(written(tmp_path, GOOD.replace(before, after)))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("data", "words"), [(b"\xff", "UTF-8"), (b"", "format: must be 1"), (b"#" * 1_100_000, "more than")]
)
def test_what_is_no_scenario_at_all_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    with pytest.raises(UnusableFile, match=words):
        load_scenario(path)
    with pytest.raises(UnusableFile, match="Is a directory"):
        load_scenario(tmp_path)


def test_a_table_where_a_list_of_them_belongs_is_refused_with_how_it_is_written(tmp_path: Path) -> None:
    text = 'format = 1\nname = "one"\n[steps]\ndo = "mend"\n'
    with pytest.raises(UnusableFile, match=r"steps: must be a list, and is a table; .*\[\[\.\.\.\]\]"):
        load_scenario(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="No such file"):
        load_scenario(tmp_path / "none.toml")


def test_an_unknown_behaviour_names_those_like_it(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="equivocate"):
        load_scenario(written(tmp_path, GOOD.replace('"equivocate"', '"equivocte"')))


def test_an_unknown_attack_names_those_like_it() -> None:
    with pytest.raises(UnknownAttack, match="did you mean equivocate"):
        find_attack("equivocte")


def too_many_liars() -> Scenario:
    lie = (Lie(behaviour="no-proposals"),)
    liars = tuple(
        structs.replace(find_attack("equivocate").scenario(4, 0).liars[0], member=m, lies=lie) for m in (0, 1)
    )
    return structs.replace(short_scenario(), liars=liars)


def test_more_than_f_liars_are_no_safe_network() -> None:
    with pytest.raises(Contradiction, match="more than f"):
        require_consistent(too_many_liars())
    require_consistent(structs.replace(too_many_liars(), expect=Expect(safe=False)))


def test_a_liar_listed_twice_is_refused() -> None:
    twice = too_many_liars()
    with pytest.raises(Contradiction, match="twice"):
        require_consistent(structs.replace(twice, liars=(twice.liars[0], twice.liars[0])))


def test_a_group_of_a_partition_holds_members_and_twins_only() -> None:
    scenario = structs.replace(short_scenario(), steps=(Partition(groups=((0, 4),)),))
    with pytest.raises(Contradiction, match=r"steps\[0\].groups"):
        require_consistent(scenario)


def test_events_are_counted_as_shrinking_counts_them() -> None:
    scenario = structs.replace(find_attack("equivocate").scenario(4, 0), steps=(Submit(), Submit()))
    assert scenario.events == 3
