"""What a real network's clients keep from members: chosen transactions, once."""

import asyncio
from collections.abc import Callable

from byzantine.runners.clients import SelectiveDialer
from crypto.roster import MemberId
from tetrarch.client.transport import Connection
from tetrarch.wire import AskStatus, Submit, pack


class Wires:
    """Dials to nowhere, and notes what is sent to whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Connection:
        return Wire(member, self.sent)


class Wire:
    def __init__(self, member: int, sent: list[tuple[int, bytes]]) -> None:
        self.member, self.sent = member, sent

    def send(self, frame: bytes) -> bool:
        self.sent.append((self.member, frame))
        return True

    def close(self) -> None:
        pass

    async def wait_closed(self) -> str:
        return "closed"


def sent(restricted: dict[bytes, tuple[int, ...]], *frames: bytes) -> list[tuple[int, bytes]]:
    """What members 0 and 1 get when each is sent all frames."""

    async def story() -> list[tuple[int, bytes]]:
        wires = Wires()
        dialer = SelectiveDialer(wires)
        connections = [await dialer.dial(MemberId(member), lambda _: None) for member in (0, 1)]
        for raw, to in restricted.items():
            dialer.restrict(raw, to)
        for frame in frames:
            assert all(connection.send(frame) for connection in connections)
        return wires.sent

    return asyncio.run(story())


def test_a_restricted_transaction_reaches_its_members_first_and_all_the_second_time() -> None:
    frame = pack(Submit(True, (b"a",)))
    assert sent({b"a": (1,)}, frame, frame) == [(1, frame), (0, frame), (1, frame)]


def test_what_goes_with_it_in_one_frame_is_not_kept_back() -> None:
    frame, rest = pack(Submit(True, (b"a", b"b"))), pack(Submit(True, (b"b",)))
    assert sent({b"a": (1,)}, frame) == [(0, rest), (1, frame)]


def test_all_its_members_are_asked_for_the_result() -> None:
    short, full = pack(Submit(False, (b"a", b"b"))), pack(Submit(True, (b"a", b"b")))
    assert sent({b"a": (0, 1)}, short) == [(0, full), (1, full)]
    other = pack(Submit(False, (b"b",)))
    assert sent({b"a": (0, 1)}, other) == [(0, other), (1, other)]


def test_whatever_is_no_transaction_passes() -> None:
    frame = pack(AskStatus(1))
    assert sent({b"a": ()}, frame) == [(0, frame), (1, frame)]
    assert sent({}, frame) == [(0, frame), (1, frame)]
