"""What one answer proves by itself, and the path of a single receipt out of a proof for many."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from crypto import merkle
from crypto.attestation import Height
from crypto.digest import Digest, digest
from ledger.result import ok_result
from ledger.transaction import transaction_id
from tests.ledger.chain_maker import Chain
from tetrarch.client.proof import ReplicaFault, check_block, check_results
from tetrarch.trust import TrustRoot
from tetrarch.wire import Entry, Results


def proven(size: int, positions: list[int]) -> tuple[Chain, Results]:
    """Results of some transactions of a block with `size` of them, as a replica sends them."""
    chain = Chain(4)
    block = chain.extend(
        [chain.transaction(number) for number in range(size)],
        [ok_result(b"%d" % number) for number in range(size)],
    )
    ids = [transaction_id(raw) for raw in block.transactions]
    tree = merkle.Tree.of_leaves([tx_id + result for tx_id, result in zip(ids, block.results, strict=True)])
    entries = tuple(Entry(place, ids[place], block.results[place]) for place in positions)
    proof = tuple(Digest(node) for node in tree.multiproof(positions).hashes)
    return chain, Results(0, chain.attestation(1, block.header), block.header, size, entries, proof)


@given(some.data())
def test_every_receipt_out_of_a_common_proof_has_its_own_path(data: some.DataObject) -> None:
    size = data.draw(some.integers(1, 40))
    positions = sorted(data.draw(some.sets(some.integers(0, size - 1), min_size=1)))
    chain, frame = proven(size, positions)
    results = check_results(TrustRoot.of(chain.genesis), frame)
    tree = merkle.Tree.of_leaves(
        [
            transaction_id(raw) + result
            for raw, result in zip(chain.blocks[0].transactions, chain.blocks[0].results, strict=True)
        ]
    )
    for place, position in enumerate(positions):
        assert results.path(place) == (position, tuple(tree.inclusion_proof(position)))


def fault(chain: Chain, frame: Results) -> str:
    with pytest.raises(ReplicaFault) as caught:
        check_results(TrustRoot.of(chain.genesis), frame)
    return caught.value.check


def test_results_are_believed_only_as_they_were_proven() -> None:
    chain, frame = proven(7, [1, 2, 5])
    one, two, three = frame.entries
    change = msgspec.structs.replace
    assert fault(chain, change(frame, entries=(one, three, two))) == "result path"
    assert fault(chain, change(frame, entries=(one, two))) == "result path"
    assert fault(chain, change(frame, entries=())) == "result path"
    assert fault(chain, change(frame, entries=(change(one, position=0), two, three))) == "result path"
    assert fault(chain, change(frame, entries=(change(one, result=b"x"), two, three))) == "result path"
    assert fault(chain, change(frame, entries=(change(one, tx_id=two.tx_id), two, three))) == "result path"
    assert fault(chain, change(frame, proof=frame.proof[:-1])) == "result path"
    assert fault(chain, change(frame, size=3)) == "result path"


def test_a_header_of_another_chain_or_epoch_is_refused() -> None:
    chain, frame = proven(3, [0])
    for wrong in (Chain(5).blocks, None):
        header = (
            msgspec.structs.replace(frame.header, chain_id=Chain(5).chain_id)
            if wrong is not None
            else msgspec.structs.replace(frame.header, epoch=1)
        )
        assert fault(chain, msgspec.structs.replace(frame, header=header)) == "header"


def test_an_attestation_of_another_header_is_refused() -> None:
    chain, frame = proven(3, [0])
    header = msgspec.structs.replace(frame.header, state_root=digest("test-other"))
    assert fault(chain, msgspec.structs.replace(frame, header=header)) == "block hash"
    chain.extend([], [])
    attestation = chain.attestation(1, chain.blocks[1].header)
    assert fault(chain, msgspec.structs.replace(frame, attestation=attestation)) == "block hash"


def test_a_block_is_whole_or_refused_by_the_name_of_what_is_wrong() -> None:
    chain, _ = proven(4, [0])
    trust, block = TrustRoot.of(chain.genesis), chain.blocks[0]
    change = msgspec.structs.replace
    assert len(check_block(trust, block, 1)) == 4
    swapped = (block.transactions[1], block.transactions[0], *block.transactions[2:])
    cases = {
        "header": change(block, header=change(block.header, height=Height(2))),
        "results": change(block, results=block.results[:-1]),
        "transaction root": change(block, transactions=swapped),
        "batch digest": change(block, header=change(block.header, proposed=7)),
        "result root": change(block, results=block.results[::-1]),
    }
    for check, wrong in cases.items():
        with pytest.raises(ReplicaFault) as caught:
            check_block(trust, wrong, 1)
        assert caught.value.check == check
