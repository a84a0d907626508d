"""The ledger: what a block binds, exactly-once, layered writes, and what is served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto import merkle
from crypto.attestation import Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.digest import digest
from crypto.keys import PublicKey
from ledger.block import block_hash, result_leaf
from ledger.errors import BlockError, DiskFull, TransactionRefused
from ledger.keyvalue import MemoryKeyValue
from ledger.refusals import RefusalCode
from ledger.result import Result, ResultCode
from ledger.state.proof import decode_proof, verify_absence, verify_presence
from tests.ledger.disks import Disk, MemoryDisk, RocksDisk
from tests.ledger.executing import SENDER, START, Chain, put, read_results


@pytest.fixture(params=["memory", "rocks"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made: Disk = MemoryDisk() if request.param == "memory" else RocksDisk(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def chain(disk: Disk) -> Chain:
    return Chain(disk)


OK = Result(ResultCode.OK, b"true")


class TestBlocks:
    def test_an_empty_ledger_stands_before_the_first_block(self, chain: Chain) -> None:
        ledger = chain.ledger
        assert (ledger.height, ledger.head, ledger.time) == (0, None, 0)
        assert ledger.head_hash == chain.genesis.first_parent()
        assert ledger.block(Height(0)) is None
        assert ledger.block(Height(1)) is None
        assert ledger.header(Height(1)) is None
        assert ledger.certificate(Height(1)) is None

    def test_a_header_binds_parent_batch_time_transactions_results_and_state(self, chain: Chain) -> None:
        first = chain.execute([chain.transaction(put("a", "1"))])
        transactions = [chain.transaction(put("a", "2")), chain.transaction(put("b", "3"))]
        second = chain.execute(transactions)
        header, ids = second.header, [parsed.id for parsed in transactions]
        assert first.header.parent == chain.genesis.first_parent()
        assert header.parent == first.block_hash == block_hash(first.header)
        assert (header.height, header.proposed, header.time) == (2, START + 2000, START + 2000)
        assert header.transaction_root == transaction_root(ids)
        assert header.batch == batch_digest(
            chain.genesis.chain_id, Height(2), Millis(START + 2000), transaction_root(ids)
        )
        assert header.result_root == merkle.root(map(result_leaf, ids, second.results))
        assert header.result_root == second.result_tree.root
        assert header.state_root == chain.ledger.state_root != first.header.state_root
        assert (second.ids, chain.ledger.head, chain.ledger.head_hash) == (ids, header, second.block_hash)

    def test_two_replicas_agree_on_every_byte(self, tmp_path: Path) -> None:
        disks: list[Disk] = [MemoryDisk(), RocksDisk(tmp_path / "store")]
        hashes = []
        for disk in disks:
            chain = Chain(disk)
            for number in range(20):
                chain.run(*(put(f"key {number * position % 7}", f"{number}") for position in range(9)))
            hashes.append(chain.ledger.head_hash)
            disk.close()
        assert hashes[0] == hashes[1]

    def test_a_null_block_is_stored_like_any_other_and_moves_time_by_a_millisecond(
        self, chain: Chain
    ) -> None:
        chain.run(put("a", "1"))
        null = chain.execute([], timestamp=0)
        assert (null.header.proposed, null.header.time) == (0, chain.ledger.time) == (0, START + 1001)
        stored = chain.ledger.block(Height(2))
        assert stored is not None
        assert (stored.header, stored.transactions, stored.results) == (null.header, (), ())
        assert chain.run(put("a", "2")) == [OK]

    def test_block_time_never_goes_back(self, chain: Chain) -> None:
        times = [
            chain.execute([], timestamp=START + offset).header.time for offset in (5000, 1000, 5001, 9000)
        ]
        assert times == [START + 5000, START + 5001, START + 5002, START + 9000]

    @pytest.mark.parametrize("height", [0, 1, 3])
    def test_only_the_next_height_is_executed(self, chain: Chain, height: int) -> None:
        chain.run(put("a", "1"))
        agreed = batch_digest(chain.genesis.chain_id, Height(height), START, transaction_root([]))
        with pytest.raises(BlockError, match="next block is 2"):
            chain.ledger.execute(Height(height), agreed, START, [], b"")

    def test_transactions_that_are_not_those_agreed_are_not_executed(self, chain: Chain) -> None:
        parsed = chain.transaction(put("a", "1"))
        agreed = batch_digest(chain.genesis.chain_id, Height(1), START, transaction_root([parsed.id]))
        for timestamp, transactions in ((START, []), (START + 1, [parsed]), (START, [parsed, parsed])):
            with pytest.raises(BlockError, match="agreed digest"):
                chain.ledger.execute(Height(1), agreed, Millis(timestamp), transactions, b"")
        with pytest.raises(BlockError, match="agreed digest"):
            chain.ledger.execute(Height(1), digest("batch", b"another"), START, [parsed], b"")
        assert chain.ledger.height == 0


class TestExactlyOnce:
    def test_a_repeat_in_a_later_block_is_a_marker_that_names_the_first(self, chain: Chain) -> None:
        original = chain.transaction(put("a", "1"))
        chain.execute([original])
        chain.run(put("a", "2"))
        repeated = chain.execute([chain.transaction(put("b", "1")), original])
        assert read_results(repeated) == [OK, Result(ResultCode.REPEATED, first_height=Height(1))]
        assert chain.ledger.read(b"a")[0] == b'"2"'

    def test_a_repeat_within_a_block_is_executed_once(self, chain: Chain) -> None:
        first, other = chain.transaction(put("a", "1")), chain.transaction(put("a", "2"))
        executed = chain.execute([first, other, first])
        assert read_results(executed) == [OK, OK, Result(ResultCode.REPEATED, first_height=Height(1))]
        assert chain.ledger.read(b"a")[0] == b'"2"'

    def test_the_index_leads_to_the_first_execution_for_ever(self, chain: Chain) -> None:
        original = chain.transaction(put("a", "1"))
        chain.execute([chain.transaction(put("b", "1")), original, original])
        chain.execute([original])
        assert chain.ledger.located([original.id, chain.transaction(b"").id]) == [1, None]
        found = chain.ledger.receipt_parts(original.id)
        assert found is not None
        assert (found[0].header.height, found[1]) == (1, 1)

    def test_a_transaction_expires_by_block_time_alone(self, chain: Chain) -> None:
        chain.execute([], timestamp=START + 5000)
        last, late = (chain.transaction(put("a", "1"), START + 5000 + more) for more in (1, 0))
        executed = chain.execute([last, late], timestamp=START)
        assert read_results(executed) == [OK, Result(ResultCode.EXPIRED)]
        assert chain.ledger.located([last.id, late.id]) == [2, None]

    def test_a_repeat_that_has_expired_meanwhile_is_expired(self, chain: Chain) -> None:
        original = chain.transaction(put("a", "1"), START + 1500)
        chain.execute([original])
        assert read_results(chain.execute([original])) == [Result(ResultCode.EXPIRED)]
        assert chain.ledger.located([original.id]) == [1]

    def test_a_failed_transaction_is_not_executed_again_either(self, chain: Chain) -> None:
        failing = chain.transaction(b'{"expected":"1","key":"a","op":"cas","value":"2"}')
        assert read_results(chain.execute([failing]))[0].code is ResultCode.FAILED
        chain.run(put("a", "1"))
        assert read_results(chain.execute([failing])) == [Result(ResultCode.REPEATED, first_height=Height(1))]
        assert chain.ledger.read(b"a")[0] == b'"1"'

    def test_exactly_once_outlives_a_restart(self, chain: Chain) -> None:
        original = chain.transaction(put("a", "1"))
        chain.execute([original])
        chain.reopen()
        assert read_results(chain.execute([original])) == [
            Result(ResultCode.REPEATED, first_height=Height(1))
        ]


class TestState:
    def test_a_transaction_sees_what_earlier_ones_of_its_block_wrote(self, chain: Chain) -> None:
        swap = b'{"expected":"1","key":"a","op":"cas","value":"2"}'
        codes = [result.code for result in chain.run(put("a", "1"), swap, swap, b'{"key":"a","op":"delete"}')]
        assert codes == [ResultCode.OK, ResultCode.OK, ResultCode.FAILED, ResultCode.OK]
        assert chain.run(b'{"key":"a","op":"get"}')[0].value == b"null"

    def test_a_read_value_is_proven_against_the_head(self, chain: Chain) -> None:
        chain.run(*(put(f"key {number}", f"{number}") for number in range(100)))
        value, proof = chain.ledger.read(b"key 7")
        assert value == b'"7"'
        verify_presence(chain.ledger.state_root, b"key 7", value, decode_proof(proof))
        value, proof = chain.ledger.read(b"absent")
        assert value is None
        verify_absence(chain.ledger.state_root, b"absent", decode_proof(proof))

    def test_a_question_is_answered_at_the_head(self, chain: Chain) -> None:
        chain.run(put("a", "1"))
        assert chain.ledger.query(b'{"key":"a","op":"get"}') == b'"1"'


class TestServing:
    def test_a_block_is_served_with_its_certificate(self, chain: Chain) -> None:
        executed = chain.execute([chain.transaction(put("a", "1"))])
        block = chain.ledger.block(Height(1))
        assert block is not None
        assert block.header == executed.header == chain.ledger.header(Height(1))
        assert block.results == tuple(executed.results)
        assert block.certificate == chain.ledger.certificate(Height(1)) == b"certificate 1"

    def test_blocks_are_served_in_order_up_to_the_head_within_a_size_but_at_least_one(
        self, chain: Chain
    ) -> None:
        for number in range(5):
            chain.run(put("a", f"{number}" * 1000))
        ledger = chain.ledger

        def heights(first: int, last: int, size: int = 10**9) -> list[int]:
            return [block.header.height for block in ledger.blocks_from(Height(first), Height(last), size)]

        assert heights(1, 5) == [1, 2, 3, 4, 5]
        assert heights(3, 100) == [3, 4, 5]
        assert heights(0, 2) == [1, 2]
        assert heights(4, 3) == heights(6, 9) == []
        assert heights(1, 5, 1) == [1]
        assert heights(2, 5, 4000) == [2, 3]

    def test_a_transaction_is_found_by_its_id_after_a_restart(self, chain: Chain) -> None:
        transactions = [chain.transaction(put("a", f"{number}")) for number in range(5)]
        chain.execute(transactions)
        chain.run(put("b", "1"))
        ledger = chain.reopen()
        found = ledger.receipt_parts(transactions[3].id)
        assert found is not None
        block, position = found
        assert block.transactions[position] == transactions[3].raw
        assert ledger.receipt_parts(chain.transaction(b"").id) is None

    def test_engine_records_are_kept_replaced_and_deleted(self, chain: Chain) -> None:
        chain.ledger.write_engine_records(
            [(b"b", b"1"), (b"a", b"2"), (b"c", b"")], [(b"new-view/1", b"kept")]
        )
        chain.ledger.write_engine_records([(b"b", None), (b"a", b"3")], [(b"evidence/1", b"too")])
        chain.ledger.write_engine_records([], [])
        ledger = chain.reopen()
        assert ledger.engine_records() == [(b"a", b"3"), (b"c", b"")]
        assert ledger.archive() == [(b"evidence/1", b"too"), (b"new-view/1", b"kept")]
        assert ledger.archive(b"new-view/") == [(b"new-view/1", b"kept")]


class TestDisk:
    def test_a_ledger_goes_on_where_it_was_closed(self, chain: Chain) -> None:
        for number in range(10):
            chain.run(put(f"key {number}", "1"))
        before = chain.ledger
        expected = (before.height, before.head, before.head_hash, before.state_root, before.time)
        after = chain.reopen()
        assert (after.height, after.head, after.head_hash, after.state_root, after.time) == expected
        assert chain.run(put("key 3", "2")) == [OK]

    def test_a_ledger_goes_on_where_it_was_killed(self, chain: Chain) -> None:
        chain.run(put("a", "1"))
        chain.ledger.sync()
        chain.run(put("a", "2"))
        expected = chain.ledger.head_hash
        chain.disk.kill()
        assert chain.open().head_hash == expected
        assert chain.ledger.read(b"a")[0] == b'"2"'

    def test_blocks_that_were_not_synced_are_lost_whole_and_can_be_executed_again(self) -> None:
        disk = MemoryDisk()
        chain = Chain(disk)
        chain.run(put("a", "1"))
        chain.ledger.sync()
        lost = chain.transaction(put("a", "2"))
        first = chain.execute([lost])
        disk.open().crash()
        ledger = chain.open()
        assert (ledger.height, ledger.read(b"a")[0], ledger.located([lost.id])) == (1, b'"1"', [None])
        assert chain.execute([lost]).block_hash == first.block_hash

    def test_a_full_disk_leaves_the_ledger_as_it_was(self) -> None:
        disk = MemoryDisk()
        chain = Chain(disk)
        chain.run(put("a", "1"))
        before = (chain.ledger.height, chain.ledger.head_hash, chain.ledger.state_root)
        store: MemoryKeyValue = disk.open()
        store.full = True
        for use in (
            lambda: chain.run(put("a", "2")),
            lambda: chain.ledger.write_engine_records([(b"a", b"1")], []),
            chain.ledger.sync,
        ):
            with pytest.raises(DiskFull):
                use()
        assert (chain.ledger.height, chain.ledger.head_hash, chain.ledger.state_root) == before
        assert chain.ledger.read(b"a")[0] == b'"1"'
        store.full = False
        assert chain.run(put("a", "3")) == [OK]
        assert chain.open().read(b"a")[0] == b'"3"'


class TestAdmission:
    @pytest.fixture
    def chain(self) -> Chain:
        return Chain(MemoryDisk())

    def refusal(self, chain: Chain, payload: bytes, valid_until: int, sender: bytes) -> RefusalCode | None:
        parsed = chain.transaction(payload, valid_until, PublicKey(sender))
        try:
            chain.ledger.check(parsed, START)
        except TransactionRefused as refused:
            return refused.code
        return None

    @pytest.mark.parametrize(
        ("ahead", "code"),
        [
            (0, None),
            (-1, RefusalCode.EXPIRED),
            (600_000, None),
            (600_001, RefusalCode.TOO_FAR),
        ],
    )
    def test_validity_lies_between_now_and_the_horizon(
        self, chain: Chain, ahead: int, code: RefusalCode | None
    ) -> None:
        assert self.refusal(chain, put("a", "1"), START + ahead, SENDER.public_key) == code

    def test_what_has_expired_by_block_time_is_expired_whatever_the_wall_clock_says(
        self, chain: Chain
    ) -> None:
        chain.execute([], timestamp=START + 5000)
        assert self.refusal(chain, put("a", "1"), START + 4999, SENDER.public_key) is RefusalCode.EXPIRED
        assert self.refusal(chain, put("a", "1"), START + 5000, SENDER.public_key) is None

    def test_a_key_of_low_order_may_not_send(self, chain: Chain) -> None:
        for _ in range(2):
            refused = self.refusal(chain, put("a", "1"), START + 1, b"\x01" + bytes(31))
            assert refused is RefusalCode.BAD_KEY

    def test_a_payload_that_the_application_refuses_is_invalid(self, chain: Chain) -> None:
        for payload in (b"", b"{}", b'{"op":"get","key":"a"}', b"[" * 10_000):
            assert self.refusal(chain, payload, START + 1, SENDER.public_key) is RefusalCode.INVALID
