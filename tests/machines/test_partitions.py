"""Networks that fall apart: nothing is decided without a quorum, and the parts come together again."""

import pytest

from tests.machines.ending import all_is_well
from tests.machines.replicas import CLIENT, Deployed

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PATIENCE = 60.0


def test_halves_decide_nothing_and_go_on_by_themselves_when_they_meet_again(net: Deployed) -> None:
    with net.load() as load:
        load.wait_for(10, PATIENCE)
        net.lab.partition(net.members[:2], net.members[2:])
        stuck = net.wait_until(lambda states: min(state.pending for state in states) >= 5)
        later = net.wait_until(lambda states: min(state.pending for state in states) >= 25)
        assert [state.height for state in later] == [state.height for state in stuck]
        dropped = net.lab.dropped("cut")
        assert all(dropped[member] > 0 for member in net.members), dropped
        assert dropped[CLIENT] == 0
        net.lab.mend()
        load.wait_for(30, PATIENCE)
    all_is_well(net, load)


def test_who_was_cut_off_catches_up_when_it_is_heard_again(net: Deployed) -> None:
    alone, others = net.members[3], net.members[:3]
    with net.load() as load:
        load.wait_for(10, PATIENCE)
        net.lab.partition([alone], [*others, CLIENT])
        before = len(load.committed)
        load.wait_for(30, PATIENCE)
        net.lab.mend()
        missed = max(load.committed.values())
        net.wait_until(lambda states: states[3].height >= missed)
        assert len(load.committed) >= before + 30
    dropped = net.lab.dropped("cut")
    assert dropped[alone] > 0
    assert all(dropped[other] > 0 for other in others)
    all_is_well(net, load)


@pytest.mark.parametrize(
    ("victim", "heard"),
    [
        pytest.param(0, False, id="a primary that is not heard"),
        pytest.param(0, True, id="a primary that does not hear", marks=pytest.mark.long),
        pytest.param(2, False, id="a backup that is not heard", marks=pytest.mark.long),
    ],
)
def test_the_others_go_on_beside(net: Deployed, victim: int, heard: bool) -> None:
    name = net.members[victim]
    others = [member for member in net.members if member != name]
    with net.load() as load:
        load.wait_for(10, PATIENCE)
        for other in others:
            net.lab.cut(*((other, name) if heard else (name, other)))
        load.wait_for(40, PATIENCE)
        # A connection needs both directions: in the end the victim has none to any other member.
        states = net.wait_until(lambda states: sum(states[victim].peers) == 1)
        load.wait_for(10, PATIENCE)
        dropped = net.lab.dropped("cut")
        deaf = {member for member, count in dropped.items() if count}
        assert deaf == ({name} if heard else set(others))
        if victim == 0:
            assert min(state.view for state in states[1:]) > 0
        net.lab.mend()
        net.wait_until(lambda states: all(all(state.peers) for state in states))
        load.wait_for(10, PATIENCE)
    all_is_well(net, load)
