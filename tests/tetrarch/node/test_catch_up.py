"""What served blocks may take of a replica that asks for them."""

import pytest
from msgspec import structs

from consensus.contract import FetchBlocks
from crypto.attestation import Height
from crypto.batch import Millis
from ledger.block import Block
from tests.tetrarch.node.support import Solo, to_member
from tests.tetrarch.node.test_members import ONE, TWO, asked_ranges, chain, tell
from tetrarch.node.catch_up import CatchUp, held_bytes
from tetrarch.node.effects import Counters, Effects
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskRange, Range

JUNK = 10_000
ROOM = 5 * JUNK


def large(block: Block, height: int) -> Block:
    """A liar's block of that height."""
    return Block(structs.replace(block.header, height=Height(height)), (bytes(JUNK),), (b"",), b"")


def questions(catch_up: CatchUp, at: int) -> list[AskRange]:
    effects = Effects()
    catch_up.ask(Millis(at), effects)
    return [frame for frame in to_member(effects, ONE) if isinstance(frame, AskRange)]


def test_blocks_above_one_that_a_liar_withholds_do_not_fill_the_memory() -> None:
    """It serves them one by one, each as large as may be, so that the rest is asked for again and again."""
    _, (block,) = chain(1)
    limits = NodeLimits(range_bytes=ROOM, range_blocks=8, range_timeout_ms=1000)
    catch_up = CatchUp(limits, Counters())
    catch_up.want(FetchBlocks(Height(1), Height(4000), (ONE,)), Height(0), Effects())
    served, most = 0, 0
    for at in range(0, 20_000, 100):
        for question in questions(catch_up, at):
            if question.first > 1:
                answer = Range(question.first, (large(block, question.first),))
                catch_up.receive(ONE, answer, Millis(at))
                served += 1
                most = max(most, catch_up.held)
    assert ROOM - 2 * JUNK <= most <= ROOM
    assert served < 100, "while there is no room, nothing is asked for but the next block"


def test_the_next_block_is_asked_for_and_kept_though_there_is_no_room() -> None:
    _, (block,) = chain(1)
    limits = NodeLimits(range_bytes=ROOM, range_blocks=8, range_timeout_ms=1000)
    catch_up = CatchUp(limits, Counters())
    catch_up.want(FetchBlocks(Height(1), Height(4000), (ONE,)), Height(0), Effects())
    for question in questions(catch_up, 0)[1:]:
        blocks = tuple(large(block, height) for height in range(question.first, question.last + 1))
        catch_up.receive(ONE, Range(question.first, blocks), Millis(0))
    assert questions(catch_up, 1) == []
    assert catch_up.deadline() == 1000, "when the first question is given up, and not before"
    [again] = questions(catch_up, 1000)
    assert again.first == 1
    first = structs.replace(large(block, 1), transactions=(bytes(2 * ROOM),))
    catch_up.receive(ONE, Range(Height(1), (first,)), Millis(1000))
    assert catch_up.take(1) == [(first, ONE)]
    assert catch_up.held == 0, "what lay above it had to go"


@pytest.mark.parametrize("room", [1, 1000, 2000])
def test_a_replica_with_little_room_for_blocks_catches_up_all_the_same(room: int) -> None:
    source, blocks = chain(12)
    assert held_bytes(blocks[0]) < 1000
    limits = NodeLimits(range_bytes=room, range_blocks=3)
    solo = Solo(n=4, automatic=False, limits=limits)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(12), (ONE, TWO))]
    for _ in range(40):
        for member, question in sorted(asked_ranges(solo), key=lambda each: -each[1].first):
            tell(solo, member, Range(question.first, tuple(blocks[question.first - 1 : question.last])))
    assert solo.ledger.head_hash == source.ledger.head_hash
