"""Every oracle passes an honest run, and fails one in which its own rule is broken."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec import structs

from byzantine.oracles import Observation, judge
from byzantine.oracles.observation import Chain, Denial, Operation, ReadDone
from byzantine.runners.simulated import observe
from byzantine.scenario import Expect, Liar, Lie
from byzantine.simulation.world import World
from byzantine.verdicts import SAFETY, Finding, Result, Verdict, worst
from crypto.attestation import Attestation, Height, attestation_kinds
from crypto.batch import Millis, TxId
from crypto.codec import encode
from crypto.digest import Digest, digest
from crypto.roster import MemberId
from crypto.signed import Envelope, Kinds
from ledger.block import Block, block_hash
from ledger.errors import CorruptStore
from ledger.refusals import RefusalCode
from ledger.result import Result as Outcome
from ledger.result import ResultCode, ok_result, results
from tests.byzantine.runs import observed, short_scenario
from tetrarch.wire import (
    Attested,
    Expired,
    Frame,
    NotExecuted,
    Refusal,
    Refusals,
    Refused,
    pack,
    statement_kinds,
)


class Tampered:
    """A chain of which one block is another one."""

    def __init__(
        self, chain: Chain, height: int, change: Callable[[Block], Block], hashed: bytes | None = None
    ) -> None:
        self._chain, self._at, self._change, self._hashed = chain, height, change, hashed

    @property
    def height(self) -> int:
        return self._chain.height

    def block_hash(self, height: int) -> Digest:
        if height == self._at and self._hashed is not None:
            return Digest(self._hashed)
        return self._chain.block_hash(height)

    def block(self, height: int) -> Block:
        block = self._chain.block(height)
        return self._change(block) if height == self._at else block


def found(seen: Observation, oracle: str) -> Finding:
    return next(finding for finding in judge(seen) if finding.oracle == oracle)


def fails(seen: Observation, oracle: str, words: str) -> None:
    finding = found(seen, oracle)
    assert finding.verdict is Verdict.FAIL
    assert words in finding.why


def everywhere(seen: Observation, change: Callable[[Block], Block], height: int = 2) -> Observation:
    """The same change in every honest chain."""
    return replace(seen, chains={m: Tampered(chain, height, change) for m, chain in seen.chains.items()})


def committed(seen: Observation) -> Operation:
    return next(each for each in seen.operations if each.outcome == "committed" and each.height == 2)


def test_an_honest_run_passes_every_oracle() -> None:
    assert [finding for finding in judge(observed()) if finding.verdict is not Verdict.PASS] == []


def test_agreement_fails_where_one_chain_holds_another_block() -> None:
    seen = observed()
    chains = dict(seen.chains)
    chains[2] = Tampered(chains[2], chains[2].height, lambda block: block, bytes(32))
    fails(replace(seen, chains=chains), "agreement", "member 2")


def test_agreement_fails_where_a_replica_once_executed_another_block() -> None:
    fails(replace(observed(), forks=["block 3: a at 0, b at 2"]), "agreement", "block 3")


def test_agreement_fails_where_f_plus_1_members_showed_a_client_another_block() -> None:
    fails(replace(observed(), believed_blocks={2: {bytes(32)}}), "agreement", "shown another block 2")


def test_agreement_is_inconclusive_where_no_chain_can_be_read() -> None:
    assert found(replace(observed(), chains={}), "agreement").verdict is Verdict.INCONCLUSIVE


def test_validity_fails_for_a_wrong_result() -> None:
    def lie(block: Block) -> Block:
        return structs.replace(block, results=tuple(ok_result(b'"a lie"') for _ in block.results))

    fails(everywhere(observed(), lie), "validity", "block 2")


def test_validity_fails_for_what_nobody_sent() -> None:
    seen = observed()
    others = [each for each in seen.operations if each.height != 2]
    fails(replace(seen, operations=others), "validity", "nobody sent")


def test_validity_fails_for_what_its_sender_did_not_sign() -> None:
    def spoil(block: Block) -> Block:
        raws = [bytes([raw[0] ^ 1]) + raw[1:] for raw in block.transactions]
        return structs.replace(block, transactions=tuple(raws))

    fails(everywhere(observed(), spoil), "validity", "did not sign")


def test_validity_fails_for_a_block_that_is_not_linked() -> None:
    def cut(block: Block) -> Block:
        return structs.replace(block, header=structs.replace(block.header, parent=Digest(bytes(32))))

    fails(everywhere(observed(), cut), "validity", "not linked")


def test_validity_fails_for_a_header_that_does_not_hash_to_the_blocks_hash() -> None:
    def later(block: Block) -> Block:
        header = structs.replace(block.header, time=Millis(block.header.time + 1))
        return structs.replace(block, header=header)

    fails(everywhere(observed(), later), "validity", "not linked")


def test_validity_fails_for_a_header_that_names_another_state() -> None:
    seen = observed()
    longest = max(seen.chains.values(), key=lambda chain: chain.height)
    header = structs.replace(longest.block(longest.height).header, state_root=Digest(bytes(32)))
    hashed = block_hash(header)
    chains = {
        member: Tampered(chain, chain.height, lambda block: structs.replace(block, header=header), hashed)
        for member, chain in seen.chains.items()
    }
    fails(replace(seen, chains=chains), "validity", "names another state")


def test_integrity_fails_for_a_transaction_executed_twice() -> None:
    def twice(block: Block) -> Block:
        return structs.replace(block, transactions=block.transactions * 2, results=block.results * 2)

    fails(everywhere(observed(), twice), "integrity", "was executed at")


def test_integrity_fails_for_a_repeat_that_names_another_block() -> None:
    def repeat(block: Block) -> Block:
        wrong = encode(Outcome(ResultCode.REPEATED, first_height=block.header.height))
        return structs.replace(block, results=tuple(wrong for _ in block.results))

    fails(everywhere(observed(), repeat), "integrity", "is called a repeat")


def test_integrity_fails_for_what_was_executed_after_its_time() -> None:
    def late(block: Block) -> Block:
        header = structs.replace(block.header, time=Millis(2**50))
        return structs.replace(block, header=header)

    fails(everywhere(observed(), late), "integrity", "after its time")


def test_durability_fails_for_an_acknowledged_transaction_that_is_lost() -> None:
    def empty(block: Block) -> Block:
        return structs.replace(block, transactions=(), results=())

    fails(everywhere(observed(), empty), "durability", "lost acknowledged")


def test_durability_fails_for_another_result_than_was_acknowledged() -> None:
    seen = observed()
    said = committed(seen)
    lied = structs.replace(said, result=ok_result(b'"another"'))
    operations = [lied if each is said else each for each in seen.operations]
    fails(replace(seen, operations=operations), "durability", "another result")


@pytest.mark.parametrize("outcome", ["expired", "refused"])
def test_durability_fails_for_what_was_executed_though_its_client_was_told_otherwise(outcome: str) -> None:
    seen = observed()
    said = committed(seen)
    operations = [
        structs.replace(each, outcome=outcome) if each is said else each for each in seen.operations
    ]
    fails(replace(seen, operations=operations), "durability", outcome)


def test_durability_is_inconclusive_where_a_chain_does_not_reach_so_far() -> None:
    seen = observed()
    said = committed(seen)
    far = structs.replace(said, height=10_000, tx_id=type(said.tx_id)(bytes(32)))
    seen = replace(seen, operations=[*seen.operations, far])
    assert found(seen, "durability").verdict is Verdict.INCONCLUSIVE


def test_linearizability_fails_for_a_read_of_what_was_never_written() -> None:
    seen = observed()
    get = next(
        each for each in seen.operations if each.payload["op"] == "get" and each.outcome == "committed"
    )
    lied = structs.replace(get, result=ok_result(b'"never written"'))
    operations = [lied if each is get else each for each in seen.operations]
    assert found(replace(seen, operations=operations), "linearizability").verdict is Verdict.FAIL


def test_reads_fail_for_a_value_that_the_chain_does_not_hold_there() -> None:
    seen = observed()
    assert seen.reads
    lied = structs.replace(seen.reads[0], value=b'"a lie"')
    fails(replace(seen, reads=[lied]), "reads", "read wrongly")


def test_reads_fail_below_the_height_that_was_asked_for() -> None:
    stale = ReadDone(0, "key-0", 5, 2, None, bytes(32))
    fails(replace(observed(), reads=[stale]), "reads", "asked from 5")


def test_robustness_fails_for_a_correct_replica_that_stopped() -> None:
    fails(replace(observed(), stopped=["replica 1: KeyError"]), "robustness", "replica 1")


def test_robustness_is_inconclusive_where_something_was_lost_sight_of() -> None:
    seen = replace(observed(), lost=["replica 1's process is gone"])
    assert found(seen, "robustness").verdict is Verdict.INCONCLUSIVE
    assert found(seen, "liveness").verdict is Verdict.INCONCLUSIVE


def test_conduct_fails_for_what_no_correct_member_says() -> None:
    seen = replace(observed(), misconduct=["member 1 signed two different prepares"])
    fails(seen, "conduct", "member 1")


def test_memory_fails_for_what_heaps_up() -> None:
    fails(replace(observed(), overfull=["replica 0: 65 evidence"]), "memory", "65")


def test_liveness_fails_without_convergence() -> None:
    fails(replace(observed(), recovered_ms=None, unfinished="clients wait for 3"), "liveness", "wait for 3")


def test_accountability_fails_where_an_honest_member_is_accused() -> None:
    fails(replace(observed(), evidence={1: {"two COMMITs"}}), "accountability", "member 1 is honest")


def test_accountability_fails_where_an_archive_lacks_what_must_outlive_the_log() -> None:
    seen = replace(observed(), missing=["replica 2 did not keep its evidence"])
    fails(seen, "accountability", "replica 2")


def staged(seen: Observation, **expect) -> Observation:
    liars = (Liar(member=0, lies=(Lie(behaviour="equivocate"),)),)
    return replace(seen, scenario=structs.replace(seen.scenario, liars=liars, expect=Expect(**expect)))


def test_accountability_fails_where_a_liar_that_must_be_blamed_is_not() -> None:
    fails(staged(observed(), evidence=(0,)), "accountability", "against member 0")


def test_accountability_fails_for_evidence_where_nothing_can_be_proven() -> None:
    seen = staged(replace(observed(), evidence={0: {"two PREPAREs"}}), no_evidence=True)
    fails(seen, "accountability", "cannot be proven")


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({}, "equivocate never fired"),
        ({"fired": (), "refused": ("a reason",)}, "nobody counted"),
        ({"fired": (), "view": "changed"}, "never left"),
    ],
)
def test_the_outcome_fails_where_it_is_not_what_was_stated(expect, words: str) -> None:
    fails(staged(observed(), **expect), "outcome", words)


def test_the_outcome_fails_where_one_of_two_liars_never_did_what_both_were_to_do() -> None:
    lies = (Lie(behaviour="mute"),)
    liars = (Liar(member=2, lies=lies), Liar(member=3, lies=lies))
    by_one = {"member 2": {"mute": 3}}

    def seen(fired_by: dict[str, dict[str, int]], fired: tuple[str, ...] | None = None) -> Observation:
        scenario = structs.replace(observed().scenario, liars=liars, expect=Expect(fired=fired))
        return replace(observed(), scenario=scenario, fired={"mute": 3}, fired_by=fired_by)

    fails(seen(by_one), "outcome", "mute never fired at member 3")
    assert found(seen(by_one | {"member 3": {"mute": 1}}), "outcome").verdict is Verdict.PASS
    # A scenario that names what is to fire leaves open at whom.
    assert found(seen(by_one, fired=("mute",)), "outcome").verdict is Verdict.PASS


def test_the_outcome_fails_where_one_of_two_hostile_clients_did_nothing() -> None:
    floods = (Lie(behaviour="flood"), Lie(behaviour="flood"))
    scenario = structs.replace(observed().scenario, hostile_clients=floods)
    by_one = {"hostile client 0": {"flood": 3}}
    seen = replace(observed(), scenario=scenario, fired={"flood": 3}, fired_by=by_one)
    fails(seen, "outcome", "flood never fired at hostile client 1")


def test_the_outcome_fails_where_a_view_was_left_needlessly() -> None:
    fails(staged(replace(observed(), highest_view=1), fired=(), view="kept"), "outcome", "needlessly")


def test_more_views_than_stated_are_left_on_a_shared_machine_alone() -> None:
    seen = staged(replace(observed(), highest_view=2), fired=(), views=(1, 1))
    fails(seen, "outcome", "the highest view was 2, and was to lie between 1 and 1")
    shared = replace(seen, allowance_views=1)
    passed = found(shared, "outcome")
    assert passed.verdict is Verdict.PASS
    assert passed.why.endswith("between 1 and 1; 1 more are allowed on a machine that others use too")
    fails(replace(shared, highest_view=3), "outcome", "the highest view was 3")
    fails(replace(shared, highest_view=0), "outcome", "the highest view was 0")
    assert not found(replace(shared, highest_view=1), "outcome").why


def test_liveness_fails_where_convergence_took_longer_than_is_stated() -> None:
    fails(replace(observed(), recovered_ms=60_001), "liveness", "took 60001 ms, 60000 ms are stated")


def test_what_is_stated_and_allowed_for_a_shared_machine_is_told_and_is_the_bound() -> None:
    shared = replace(observed(), bound_ms=500, allowance_ms=1_000)
    passed = found(replace(shared, recovered_ms=1_500), "liveness")
    assert passed.verdict is Verdict.PASS
    assert passed.why.startswith("convergence took 1500 ms, 500 ms are stated, and 1000 ms more allowed")
    fails(replace(shared, recovered_ms=1_501), "liveness", "took 1501 ms")
    fails(replace(shared, recovered_ms=None), "liveness", "within 1500 ms")


def test_memory_is_bounded_where_replicas_are_processes() -> None:
    megabyte = 1024 * 1024
    peaks = {1: 60 * megabyte, 2: 61 * megabyte, 3: 59 * megabyte}
    assert found(replace(observed(), peak_bytes=peaks), "memory").verdict is Verdict.PASS
    fails(replace(observed(), peak_bytes=peaks | {2: 201 * megabyte}), "memory", "replica 2 took 201 MB")
    fails(replace(observed(), peak_bytes={1: None, 2: 201 * megabyte}), "memory", "replica 2 took 201 MB")


def test_memory_that_nobody_could_measure_is_inconclusive() -> None:
    finding = found(replace(observed(), peak_bytes={1: 60_000_000, 2: None}), "memory")
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "replica 2" in finding.why


def result_with(*verdicts: Verdict) -> Result:
    findings = tuple(Finding("agreement", verdict) for verdict in verdicts)
    return Result("x", 4, 0, "simulated", {}, findings, 0, 0, None, (), (), 0.0)


def test_inconclusive_is_never_a_pass() -> None:
    assert worst([]) is Verdict.INCONCLUSIVE
    assert result_with(Verdict.PASS, Verdict.INCONCLUSIVE).verdict is Verdict.INCONCLUSIVE
    assert result_with(Verdict.INCONCLUSIVE, Verdict.FAIL).verdict is Verdict.FAIL
    assert result_with(Verdict.PASS).verdict is Verdict.PASS


def test_every_oracle_of_safety_is_asked() -> None:
    asked = {finding.oracle for finding in judge(observed())}
    assert set(SAFETY) - {"determinism"} <= asked  # that one is for applications without a model


def test_conduct_is_not_judged_where_nobody_could_listen() -> None:
    assert "conduct" not in {finding.oracle for finding in judge(replace(observed(), misconduct=None))}


def test_results_of_an_honest_run_are_what_the_model_gives_and_not_only_accepted() -> None:
    block = next(iter(observed().chains.values())).block(2)
    assert any(results.decode(result).code is ResultCode.OK for result in block.results)


@pytest.mark.parametrize("field", ["transaction_root", "batch", "result_root"])
def test_validity_fails_for_a_header_that_commits_to_something_else(field: str) -> None:
    seen = observed()

    def change(block: Block) -> Block:
        return structs.replace(block, header=structs.replace(block.header, **{field: Digest(bytes(32))}))

    def hashed(chain: Chain) -> bytes:
        return bytes(block_hash(change(chain.block(chain.height)).header))

    chains = {m: Tampered(each, each.height, change, hashed(each)) for m, each in seen.chains.items()}
    fails(replace(seen, chains=chains), "validity", "another")


def test_liveness_fails_where_valid_operations_are_refused_for_good() -> None:
    seen = observed()
    operations = [structs.replace(each) for each in seen.operations]
    operations[0].outcome = "refused"
    fails(replace(seen, operations=operations), "liveness", "refused for good")


def test_a_store_that_cannot_be_read_fails_and_hides_nothing_else() -> None:
    seen = observed()

    def rotten(_block: Block) -> Block:
        raise CorruptStore("a checksum is wrong")

    seen = replace(everywhere(seen, rotten), forks=["block 3: two"], evidence={2: {"lied"}})
    fails(seen, "validity", "cannot be read")
    fails(seen, "agreement", "block 3")
    fails(seen, "accountability", "2")


def test_an_oracle_that_stumbles_is_inconclusive() -> None:
    def stumbling(_seen: Observation) -> Finding:
        raise ZeroDivisionError

    finding = judge(observed(), (stumbling,))[0]
    assert (finding.oracle, finding.verdict) == ("stumbling", Verdict.INCONCLUSIVE)


def test_with_more_than_f_liars_honest_members_still_neither_stop_nor_lie() -> None:
    lies = tuple(Liar(member=member, lies=(Lie(behaviour="equivocate"),)) for member in (0, 1))
    scenario = structs.replace(observed().scenario, liars=lies, expect=Expect(safe=False, fired=()))
    seen = replace(observed(), scenario=scenario)
    fails(replace(seen, stopped=["replica 2: KeyError"]), "robustness", "KeyError")
    fails(replace(seen, misconduct=["member 2 signed two different commits"]), "conduct", "member 2")
    broken = found(replace(seen, forks=["block 3: two"]), "agreement")
    assert (broken.verdict, broken.why) == (Verdict.PASS, "broken, as more than f liars can: block 3: two")


@pytest.mark.parametrize("up_to", [None, 2, 5])
def test_conduct_fails_where_an_honest_member_denies_what_is_executed(up_to: int | None) -> None:
    seen = observed()
    denial = Denial(1, committed(seen).tx_id, up_to)
    fails(replace(seen, denials=[denial]), "conduct", "member 1 signed")


def test_conduct_passes_where_a_member_said_what_was_so_when_it_said_it() -> None:
    seen = observed()
    denials = [Denial(1, committed(seen).tx_id, 1), Denial(1, TxId(bytes(32)))]
    assert found(replace(seen, denials=denials), "conduct").verdict is Verdict.PASS


def told(frame: Callable[[World, Operation], Frame]) -> Finding:
    """What conduct comes to where member 1 signs and sends a frame to a client at the end."""
    world = World(short_scenario())
    world.play()
    client = world.clients[0]
    operation = next(each for each in client.operations.values() if each.outcome == "committed")
    client.deliver(1, pack(frame(world, operation)))
    return found(observe(world), "conduct")


def sealed(world: World, kinds: Kinds, message: object) -> Envelope:
    signer = world.signatures.member(1)
    return kinds.seal(world.roster, MemberId(1), signer, message).envelope


def test_conduct_hears_what_a_client_is_told_of_its_transaction() -> None:
    def denies(world: World, operation: Operation) -> Frame:
        said = NotExecuted(operation.tx_id, Height(operation.height), Millis(2**50))
        return Expired(0, sealed(world, statement_kinds, said))

    def refuses(world: World, operation: Operation) -> Frame:
        refusal = Refusal(digest("received", operation.raw), RefusalCode.MALFORMED.value)
        return Refused(0, sealed(world, statement_kinds, Refusals((refusal,))), ())

    assert "never would be executed" in told(denies).why
    assert "never would be executed" in told(refuses).why


def test_conduct_hears_which_block_a_client_is_shown() -> None:
    def attests(world: World, operation: Operation) -> Frame:
        said = Attestation(Height(operation.height), Digest(bytes(32)))
        return Attested(0, sealed(world, attestation_kinds, said))

    assert "two different attestations" in told(attests).why
