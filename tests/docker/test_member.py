"""Who lies in byzantine.yaml, and with what."""

from pathlib import Path

import pytest

from byzantine.scenario import Contradiction
from docker.member import liar_of, lies_of, main


def test_an_attack_of_a_primary_is_the_primarys_and_one_of_a_backup_is_a_backups() -> None:
    for attack, primary in (("equivocate", True), ("wrong-digest", True), ("two-prepares", False)):
        environment = {"TETRARCH_ATTACK": attack}
        assert (liar_of(environment, lies_of(environment)) == "replica-0") is primary


def test_the_liar_can_be_named() -> None:
    environment = {"TETRARCH_ATTACK": "equivocate", "TETRARCH_LIAR": "replica-2"}
    assert liar_of(environment, lies_of(environment)) == "replica-2"


def test_several_lies_are_told_by_one_liar() -> None:
    environment = {"TETRARCH_ATTACK": "two-prepares, two-commits"}
    assert [lie.behaviour for lie in lies_of(environment)] == ["two-prepares", "two-commits"]


def test_without_an_attack_nobody_lies() -> None:
    assert liar_of({}, lies_of({})) == ""


def test_what_no_member_does_is_refused_with_what_is_like_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Contradiction):
        lies_of({"TETRARCH_ATTACK": "equivocat"})
    assert main(tmp_path, {"TETRARCH_ATTACK": "equivocat"}) == 2
    assert "equivocate" in capsys.readouterr().err
