"""The cable by itself, on pipes in the place of devices: no rights are needed."""

import fcntl
import os
from collections.abc import Iterator

import pytest

from tests.machines.cable import MAX_HELD, Cable

PIPE_BYTES = 1024 * 1024
"""A packet takes a page."""

HERE, THERE = bytes([10, 77, 0, 1]), bytes([10, 77, 0, 2])


def packet(number: int, source: bytes = HERE, target: bytes = THERE) -> bytes:
    return bytes(12) + source + target + number.to_bytes(4, "big")


class Ends:
    """Two hosts: what the first sends is given to `send`, what arrives at the other is `arrived`."""

    def __init__(self, seed: int = 0) -> None:
        # Packets keep their borders, as in a device.
        self.sent, self._in = os.pipe2(os.O_NONBLOCK | os.O_DIRECT)
        self._out, self.there = os.pipe2(os.O_NONBLOCK | os.O_DIRECT)
        for end in (self._in, self.there):
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.cable = Cable({HERE: self.sent, THERE: self.there}, seed)

    def line(self, delay_us: int, jitter_us: int = 0, overtaking: float = 0.0) -> None:
        self.cable.obey({"lines": [[HERE.hex(), THERE.hex(), delay_us, jitter_us, overtaking]]})

    def send(self, now: float, *packets: bytes) -> None:
        for each in packets:
            os.write(self._in, each)
            self.cable.take(self.sent, now)

    def arrived(self) -> list[int]:
        found = []
        while True:
            try:
                found.append(int.from_bytes(os.read(self._out, 65536)[20:], "big"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        for end in (self.sent, self._in, self._out, self.there):
            os.close(end)


@pytest.fixture
def ends() -> Iterator[Ends]:
    found = Ends()
    yield found
    found.close()


def test_without_a_delay_a_packet_is_passed_on_at_once(ends: Ends) -> None:
    ends.send(1.0, packet(1))
    assert ends.arrived() == [1]
    assert ends.cable.counts == {"carried": 1}


def test_a_packet_arrives_when_its_delay_is_over_and_not_before(ends: Ends) -> None:
    ends.line(20_000)
    ends.send(1.0, packet(1))
    assert ends.cable.deliver(1.019) == pytest.approx(0.001)
    assert ends.arrived() == []
    assert ends.cable.deliver(1.0201) is None
    assert ends.arrived() == [1]


def test_packets_whose_delays_differ_keep_their_order(ends: Ends) -> None:
    ends.line(1_000, jitter_us=50_000)
    ends.send(1.0, *map(packet, range(50)))
    ends.cable.deliver(2.0)
    assert ends.arrived() == list(range(50))


def test_packets_overtake_only_where_they_may(ends: Ends) -> None:
    ends.line(1_000, overtaking=0.3)
    ends.send(1.0, *map(packet, range(50)))
    ends.cable.deliver(2.0)
    arrived = ends.arrived()
    assert sorted(arrived) == list(range(50))
    assert arrived != sorted(arrived)
    assert 5 <= ends.cable.counts["overtook"] <= 30


def test_the_same_seed_draws_the_same() -> None:
    orders = []
    for seed in (1, 1, 2):
        ends = Ends(seed)
        ends.line(1_000, jitter_us=5_000, overtaking=0.3)
        ends.send(1.0, *map(packet, range(50)))
        ends.cable.deliver(2.0)
        orders.append(ends.arrived())
        ends.close()
    assert orders[0] == orders[1] != orders[2]


def test_no_delay_after_a_delay_overtakes_nothing(ends: Ends) -> None:
    ends.line(20_000)
    ends.send(1.0, packet(1))
    ends.line(0)
    ends.send(1.001, packet(2))
    ends.cable.deliver(2.0)
    assert ends.arrived() == [1, 2]


def test_what_leads_nowhere_is_counted_and_dropped(ends: Ends) -> None:
    ends.send(1.0, packet(1, target=bytes([224, 0, 0, 1])), b"\x60short")
    assert ends.arrived() == []
    assert ends.cable.counts == {"unroutable": 2}


def test_what_is_under_way_is_bounded(ends: Ends) -> None:
    ends.line(20_000)
    for number in range(MAX_HELD + 3):
        ends.send(1.0, packet(number))
    assert ends.cable.counts["dropped"] == 3
