"""Stored blocks that members serve: asked for, verified, executed, given up where none come, and bounded."""

from itertools import pairwise

import pytest
from msgspec import structs

from consensus.contract import FetchBlocks, FetchBodies
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.roster import MemberId
from ledger.block import Block
from tests.tetrarch.node.support import Solo, chain, request, spoiled, tell, to_member
from tetrarch.node.catch_up import OVERTAKEN_MS, OVERTAKEN_TIMES, CatchUp, held_bytes
from tetrarch.node.effects import Counters, Effects
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskBodies, AskRange, Range

ONE, TWO, THREE = MemberId(1), MemberId(2), MemberId(3)

STEP_MS = 100

JUNK = 10_000
ROOM = 5 * JUNK


def asked_ranges(solo: Solo) -> list[tuple[MemberId, AskRange]]:
    effects = solo.turns()
    return [
        (member, frame)
        for member in (ONE, TWO, THREE)
        for effect in effects
        for frame in to_member(effect, member)
        if isinstance(frame, AskRange)
    ]


def test_served_blocks_are_verified_executed_and_lead_to_the_same_head() -> None:
    source, blocks = chain(5)
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(5), (ONE, TWO))]
    ((member, question),) = asked_ranges(solo)
    assert (question.first, question.last) == (1, 5)
    tell(solo, member, Range(Height(1), tuple(blocks)))
    solo.turns()
    assert solo.engine.learnt == [1, 2, 3, 4, 5]
    assert solo.ledger.head_hash == source.ledger.head_hash
    assert len(solo.checker.asked) == 5, "every client's signature"


def wrong_blocks(blocks: list[Block]) -> dict[str, Block]:
    first = blocks[0]
    header = first.header
    other = type(header)
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    return {
        "a spoiled signature": Block(
            header, (spoiled(first.transactions[0]),), first.results, first.certificate
        ),
        "no transaction": Block(header, (), (), first.certificate),
        "no certificate": Block(header, first.transactions, first.results, b""),
        "another's certificate": Block(header, first.transactions, first.results, blocks[1].certificate),
        "not a transaction": Block(header, (b"nonsense" * 20,), first.results, first.certificate),
        "another timestamp": Block(
            other(**{**fields, "proposed": header.proposed + 1}),
            first.transactions,
            first.results,
            first.certificate,
        ),
    }


def test_a_wrong_block_is_never_executed_and_another_source_is_asked() -> None:
    _, blocks = chain(3)
    for what, wrong in wrong_blocks(blocks).items():
        solo = Solo(n=4, automatic=False)
        solo.engine.fetch = [FetchBlocks(Height(1), Height(3), (ONE, TWO))]
        ((liar, _),) = asked_ranges(solo)
        tell(solo, liar, Range(Height(1), (wrong, *blocks[1:])))
        ((honest, question),) = asked_ranges(solo)
        assert solo.ledger.height == 0, what
        assert honest != liar, what
        tell(solo, honest, Range(question.first, tuple(blocks)))
        solo.turns()
        assert solo.ledger.height == 3, what


def test_a_header_that_was_changed_in_the_serving_is_noticed_loudly() -> None:
    _, blocks = chain(1)
    header = blocks[0].header
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    lie = type(header)(**{**fields, "state_root": bytes(32)})
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(1), (ONE,))]
    solo.turn()
    tell(
        solo,
        ONE,
        Range(Height(1), (Block(lie, blocks[0].transactions, blocks[0].results, blocks[0].certificate),)),
    )
    effects = solo.turns()
    assert solo.ledger.height == 1, "what was agreed is right, and that alone is believed"
    assert "block_differs" in [event.name for effect in effects for event in effect.events]


def test_a_silent_source_is_left_for_another() -> None:
    _, blocks = chain(2)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_timeout_ms=100))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(2), (ONE, TWO))]
    ((silent, _),) = asked_ranges(solo)
    assert solo.heart.deadline() is not None
    solo.at += 100
    ((other, question),) = asked_ranges(solo)
    assert other != silent
    tell(solo, silent, Range(Height(1), tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 0, "too late: another was asked"
    tell(solo, other, Range(question.first, tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 2


def test_a_source_that_others_overtook_is_not_waited_for_to_the_end() -> None:
    _, blocks = chain(9)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=3))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(9), (ONE, TWO, THREE))]
    asked = {question.first: (member, question) for member, question in asked_ranges(solo)}
    silent, lowest = asked[Height(1)]
    solo.at += 20
    for first in (Height(4), Height(7)):
        member, question = asked[first]
        tell(solo, member, Range(first, tuple(blocks[first - 1 : question.last])))
    solo.turns()
    solo.at += 20
    assert asked_ranges(solo) == [], "it has some times as long as the others took"
    solo.at += OVERTAKEN_TIMES * 20 + OVERTAKEN_MS
    ((other, again),) = asked_ranges(solo)
    assert other != silent
    assert (again.first, again.last) == (lowest.first, lowest.last)
    tell(solo, other, Range(Height(1), tuple(blocks[:3])))
    solo.turns()
    assert solo.ledger.height == 9


def test_an_answer_to_an_older_question_says_nothing_of_a_newer_one() -> None:
    _, blocks = chain(6)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=3, ranges_in_flight=1))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(6), (ONE, TWO))]
    ((member, first),) = asked_ranges(solo)
    tell(solo, member, Range(first.first, tuple(blocks[:3])))
    assert len(asked_ranges(solo)) == 1
    solo.at += OVERTAKEN_MS + 1
    assert asked_ranges(solo) == []


def test_blocks_that_no_source_has_are_not_asked_for_without_end() -> None:
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(10**9), (ONE, TWO))]
    asked = 0
    for _ in range(50):
        for member, question in asked_ranges(solo):
            asked += 1
            tell(solo, member, Range(question.first, ()))
    assert 1 <= asked <= 8
    assert solo.heart.deadline() is None, "given up, until the engine asks again"


def test_a_source_without_the_blocks_does_not_keep_others_from_being_asked() -> None:
    _, blocks = chain(2)
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(2), (ONE, TWO))]
    ((empty, question),) = asked_ranges(solo)
    tell(solo, empty, Range(question.first, ()))
    ((other, again),) = asked_ranges(solo)
    assert other != empty
    tell(solo, other, Range(again.first, tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 2


def test_blocks_that_nobody_asked_for_are_dropped() -> None:
    _, blocks = chain(2)
    solo = Solo(n=4, automatic=False)
    tell(solo, ONE, Range(Height(1), tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 0


def test_several_ranges_travel_at_once_and_are_applied_in_order() -> None:
    _, blocks = chain(12)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=3))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(12), (ONE, TWO, THREE))]
    questions = asked_ranges(solo)
    assert sorted(question.first for _, question in questions) == [1, 4, 7, 10]
    assert len({member for member, _ in questions}) == 3
    for member, question in sorted(questions, key=lambda each: -each[1].first):
        tell(solo, member, Range(question.first, tuple(blocks[question.first - 1 : question.last])))
        solo.turns()
    assert solo.ledger.height == 12


def test_a_short_answer_is_completed_by_another_question() -> None:
    _, blocks = chain(6)
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(6), (ONE,))]
    ((_, first),) = asked_ranges(solo)
    tell(solo, ONE, Range(first.first, tuple(blocks[:2])))
    ((_, second),) = asked_ranges(solo)
    assert (second.first, second.last) == (3, 6)
    tell(solo, ONE, Range(second.first, tuple(blocks[2:])))
    solo.turns()
    assert solo.ledger.height == 6


def test_blocks_that_lie_here_behind_a_gap_keep_no_body_from_being_fetched() -> None:
    """A liar that serves all but the next block of a chain that only it claims."""
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=1))
    _, blocks = chain(3)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(3), (ONE,))]
    solo.turn()
    for block in blocks[1:]:
        tell(solo, ONE, Range(block.header.height, (block,)))
    solo.turn()
    missing = request(solo, 50)
    solo.engine.fetch = [FetchBodies((missing.id,), (TWO,))]
    assert to_member(solo.turn(), TWO) == [AskBodies((missing.id,))]


def large(block: Block, height: int) -> Block:
    """A liar's block of that height."""
    return Block(structs.replace(block.header, height=Height(height)), (bytes(JUNK),), (b"",), b"")


def questions(catch_up: CatchUp, at: int) -> list[AskRange]:
    effects = Effects()
    catch_up.ask(Millis(at), effects)
    return [frame for frame in to_member(effects, ONE) if isinstance(frame, AskRange)]


def whole(block: Block, question: AskRange) -> tuple[Block, ...]:
    """All that was asked for, each block of its height."""
    header = block.header
    return tuple(
        structs.replace(block, header=structs.replace(header, height=Height(height)))
        for height in range(question.first, question.last + 1)
    )


def gaps_between_questions_to_a_silent_source(catch_up: CatchUp, block: Block) -> list[int]:
    """Of the first, while the second answers everything at once; in ms, over 20 s."""
    asked_at: list[int] = []
    for at in range(0, 20_000, STEP_MS):
        effects = Effects()
        catch_up.ask(Millis(at), effects)
        asked_at += [at for _ in to_member(effects, ONE)]
        for question in to_member(effects, TWO):
            assert isinstance(question, AskRange)
            catch_up.receive(TWO, Range(question.first, whole(block, question)), Millis(at))
            catch_up.take(10_000)
    return [later - earlier for earlier, later in pairwise(asked_at)]


def test_a_scrap_of_what_was_asked_for_makes_nobody_late() -> None:
    _, blocks = chain(6)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=3))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(6), (ONE, TWO))]
    asked = {question.first: (member, question) for member, question in asked_ranges(solo)}
    quick, _ = asked[Height(4)]
    far, lowest = asked[Height(1)]
    tell(solo, quick, Range(Height(4), (blocks[3],)))
    assert [member for member, _ in asked_ranges(solo)] == [far], "for what it kept back"
    solo.at += OVERTAKEN_MS + 100
    assert asked_ranges(solo) == []
    tell(solo, far, Range(lowest.first, tuple(blocks[:3])))
    solo.turns()
    assert solo.ledger.height == 4


def test_who_is_overtaken_often_is_asked_last_for_no_longer_than_once() -> None:
    _, (block,) = chain(1)
    limits = NodeLimits(silent_source_ms=100, range_blocks=1, ranges_in_flight=2)
    catch_up = CatchUp(limits, Counters())
    catch_up.want(FetchBlocks(Height(1), Height(10**7), (ONE, TWO)), Height(0), Effects())
    gaps = gaps_between_questions_to_a_silent_source(catch_up, block)
    assert max(gaps) <= OVERTAKEN_MS + limits.silent_source_ms + 2 * STEP_MS


def test_a_source_that_stays_silent_is_asked_ever_less_often() -> None:
    _, (block,) = chain(1)
    limits = NodeLimits(range_timeout_ms=100, silent_source_ms=100, range_blocks=1, ranges_in_flight=1)
    catch_up = CatchUp(limits, Counters())
    catch_up.want(FetchBlocks(Height(1), Height(10**7), (ONE, TWO)), Height(0), Effects())
    gaps = gaps_between_questions_to_a_silent_source(catch_up, block)
    assert gaps == sorted(gaps)
    assert 16 * limits.silent_source_ms <= gaps[-1] <= 20 * limits.silent_source_ms


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
