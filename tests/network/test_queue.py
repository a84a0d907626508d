"""Rules of the queue of one peer: bounded, the oldest goes first, and the stream stays whole."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from network.framing import HEADER_BYTES, Framer, frame
from network.queue import FrameQueue


def taken(queue: FrameQueue, at_a_time: int) -> list[bytes]:
    """All that waits, as frames."""
    framer, frames = Framer(10**6), []
    while queue:
        frames += framer.feed(queue.take(at_a_time))
    assert framer.buffered == 0
    return frames


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=30), st.integers(1, 200))
def test_what_is_taken_in_pieces_is_the_stream_of_what_was_pushed(sent: list[bytes], at_a_time: int) -> None:
    queue = FrameQueue(10**6, 10**6)
    for payload in sent:
        assert queue.push(payload) == 0
    assert taken(queue, at_a_time) == sent
    assert (queue.size, len(queue)) == (0, 0)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=30), st.integers(1, 200))
def test_no_piece_is_much_larger_than_asked_for(sent: list[bytes], at_a_time: int) -> None:
    queue = FrameQueue(10**6, 10**6)
    for payload in sent:
        queue.push(payload)
    while queue:
        assert 0 < len(queue.take(at_a_time)) <= at_a_time + HEADER_BYTES


def test_too_many_frames_push_out_the_oldest() -> None:
    queue = FrameQueue(10**6, 3)
    assert [queue.push(bytes([number])) for number in range(1, 6)] == [0, 0, 0, 1, 1]
    assert queue.dropped == 2
    assert taken(queue, 100) == [b"\x03", b"\x04", b"\x05"]


def test_too_many_bytes_push_out_as_many_of_the_oldest_as_it_takes() -> None:
    queue = FrameQueue(100, 1_000)
    for number in range(10):
        assert queue.push(bytes([number]) * 6) == 0
    assert queue.push(bytes(50)) == 6
    assert queue.size == 4 * 10 + 54
    assert taken(queue, 100) == [bytes([number]) * 6 for number in (6, 7, 8, 9)] + [bytes(50)]


def test_a_frame_larger_than_the_queue_is_kept_alone() -> None:
    queue = FrameQueue(100, 10)
    queue.push(b"old")
    assert queue.has_room(80)
    assert not queue.has_room(1_000)
    assert queue.push(bytes(1_000)) == 1
    assert FrameQueue(100, 10).has_room(1_000)
    assert taken(queue, 10**6) == [bytes(1_000)]


def test_a_frame_of_which_a_part_has_left_is_never_dropped() -> None:
    queue = FrameQueue(100, 10)
    queue.push(b"a" * 40)
    stream = queue.take(20)
    for _ in range(10):
        queue.push(b"b" * 60)
    while queue:
        stream += queue.take(20)
    assert Framer(100).feed(stream) == [b"a" * 40, b"b" * 60]


def test_when_the_stream_breaks_the_rest_of_a_frame_is_forgotten_and_whole_ones_stay() -> None:
    queue = FrameQueue(1_000, 10)
    queue.push(b"a" * 40)
    queue.push(b"b" * 40)
    queue.take(20)
    queue.forget_rest()
    assert (queue.dropped, queue.size) == (1, 44)
    assert taken(queue, 1_000) == [b"b" * 40]
    queue.forget_rest()
    assert queue.dropped == 1


def test_tighter_limits_drop_at_once() -> None:
    queue = FrameQueue(1_000, 10)
    for number in range(1, 6):
        queue.push(bytes([number]))
    assert queue.limit(1_000, 2) == 3
    assert taken(queue, 100) == [b"\x04", b"\x05"]


class QueueMachine(RuleBasedStateMachine):
    """Whatever is done to a queue, the peer gets a whole stream of the newest frames in order."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FrameQueue(200, 6)
        self.framer = Framer(10**6)
        self.pushed: list[bytes] = []
        self.dropped = 0
        self.got: list[bytes] = []

    @rule(size=st.integers(1, 300))
    def push(self, size: int) -> None:
        payload = len(self.pushed).to_bytes(4, "big") + bytes(size)
        self.pushed.append(payload)
        self.dropped += self.queue.push(payload)

    @rule(at_most=st.integers(1, 300))
    def take(self, at_most: int) -> None:
        if self.queue:
            self.got += self.framer.feed(self.queue.take(at_most))

    @invariant()
    def frames_arrive_in_order_and_are_accounted_for(self) -> None:
        places = [int.from_bytes(payload[:4], "big") for payload in self.got]
        assert places == sorted(set(places))
        assert all(payload == self.pushed[place] for place, payload in zip(places, self.got, strict=True))
        under_way = len(self.pushed) - self.dropped - len(self.got) - len(self.queue)
        assert under_way in (0, 1)
        assert self.dropped == self.queue.dropped

    @invariant()
    def what_waits_is_bounded(self) -> None:
        assert len(self.queue) <= 6
        assert self.queue.size <= max(200, 2 * len(frame(bytes(304))))


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestQueueMachine = QueueMachine.TestCase
