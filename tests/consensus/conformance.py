"""What every engine must do behind `consensus.contract`, whatever its protocol.

`EngineConformance` is a suite to inherit from: a subclass says how to make a network of engines (in the
way of `tests.pbft.cluster.Cluster`) and gets these tests. Nothing here may assume Byzantine faults or a
rotating primary.
"""

import pytest

from consensus.contract import EngineFault
from tests.pbft.cluster import Cluster


class EngineConformance:
    """The tests; `make` returns a network, `survives` how many members may fail."""

    survives: int

    def make(self, seed: int = 0) -> Cluster:
        raise AssertionError("a suite says how its network is made")

    def test_all_members_execute_all_requests_in_one_order_each_once(self) -> None:
        network = self.make()
        network.submit(range(40))
        assert network.run(network.all_executed(range(40)))
        network.check_agreement()
        for member in network.members:
            ids = [item.id for decision, _ in member.disk.chain for item in decision.requests]
            assert len(ids) == len(set(ids)) == 40

    def test_heights_are_consecutive_and_certified(self) -> None:
        network = self.make()
        network.submit(range(10))
        assert network.run(network.all_executed(range(10)))
        for member in network.members:
            assert [decision.height for decision, _ in member.disk.chain] == list(
                range(1, len(member.disk.chain) + 1)
            )
            assert all(decision.certificate for decision, _ in member.disk.chain)

    def test_a_request_known_to_one_member_alone_is_ordered(self) -> None:
        network = self.make()
        network.submit([1], to=[network.roster.n - 1])
        assert network.run(network.all_executed([1]))

    def test_the_leaders_crash_is_survived(self) -> None:
        network = self.make()
        network.submit([1])
        assert network.run(network.all_executed([1]))
        leader = network.members[0].engine.status().leader
        assert leader is not None
        network.members[leader].crash()
        rest = [member for member in range(network.roster.n) if member != leader]
        network.submit([2], to=rest)
        assert network.run(network.all_executed([1, 2], rest))

    def test_as_many_crashes_as_promised_are_survived(self) -> None:
        network = self.make()
        for member in network.members[: self.survives]:
            member.crash()
        rest = list(range(self.survives, network.roster.n))
        network.submit([1], to=rest)
        assert network.run(network.all_executed([1], rest), limit=120_000)

    def test_a_member_that_was_away_catches_up(self) -> None:
        network = self.make()
        network.members[-1].crash()
        rest = list(range(network.roster.n - 1))
        for number in range(30):
            network.submit([number], to=rest)
            network.run(limit=30)
        assert network.run(network.all_executed(range(30), rest))
        network.members[-1].start()
        assert network.run(network.all_executed(range(30)))
        network.check_agreement()

    def test_a_power_cut_of_all_loses_nothing(self) -> None:
        network = self.make()
        network.submit(range(10))
        network.run(limit=12)
        for member in network.members:
            member.crash()
        for member in network.members:
            member.start()
        network.submit(range(10))
        assert network.run(network.all_executed(range(10)))
        network.check_agreement()

    def test_an_idle_engine_asks_to_be_ticked_again_but_not_at_once(self) -> None:
        network = self.make()
        network.run(limit=5000)
        member = network.members[0]
        member.turn()
        deadline = member.engine.deadline()
        assert deadline is not None
        assert deadline > network.time

    def test_a_ready_is_given_once(self) -> None:
        network = self.make()
        member = network.members[0]
        member.turn()
        assert not member.engine.take_ready()

    def test_a_halted_engine_votes_and_proposes_no_more(self) -> None:
        network = self.make()
        network.run(limit=100)
        network.members[0].engine.halt("its disk is full")
        network.submit([1], to=[0])
        network.run(limit=20_000)
        assert network.members[0].engine.status().halted == "its disk is full"
        assert not network.all_executed([1], [0])()

    def test_records_that_do_not_decode_stop_the_engine_loudly(self) -> None:
        network = self.make()
        member = network.members[0]
        member.crash()
        member.disk.records[b"\xffgarbage"] = b"garbage"
        with pytest.raises(EngineFault):
            member.start()

    def test_the_same_seed_gives_the_same_trace(self) -> None:
        traces = []
        for _ in range(2):
            network = self.make(seed=3)
            network.submit(range(20))
            network.run(limit=3000)
            traces.append(network.trace)
        assert traces[0] == traces[1]
