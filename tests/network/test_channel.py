"""Rules of one connection that cannot be seen from its other end, on a transport that only remembers."""

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from network.bounds import Budget, ChannelLimits, Ending
from network.channel import MAX_UNSENT_BYTES, Channel
from network.queue import FrameQueue
from network.session import Session
from network.tally import Tally
from tests.network.harness import member_identity, on_every_loop, server_context


class UnreadTransport(asyncio.Transport):
    """A transport whose peer reads nothing."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection, "peername": ("192.0.2.1", 7000)})
        self.unsent = 0
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: Any) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


class AnsweringSession(Session):
    """A session whose peer makes TLS itself answer: asks for new keys again and again (RFC 8446, 4.6.3)."""

    def receive(self, ciphertext: bytes | memoryview) -> list[bytes]:
        self.established = True
        self.outgoing.write(ciphertext)
        return []


class Owner:
    def opened(self, channel: Channel) -> None:
        pass

    def closed(self, channel: Channel) -> None:
        pass


@contextmanager
def channel_on(transport_session: type[Session]) -> Iterator[tuple[Channel, UnreadTransport]]:
    context = server_context(member_identity(0), member_identity(1))
    with socket.socket() as connection:
        transport = UnreadTransport(connection)
        channel = Channel(
            Owner(),
            transport_session(context, server_side=True),
            FrameQueue(100, 100),
            ChannelLimits(1_000, 1_000, 1_000, 5_000),
            Tally(),
            Budget(10**6, lambda: None),
        )
        channel.connection_made(transport)
        yield channel, transport
        channel.connection_lost(None)


def receive(channel: Channel, data: bytes) -> None:
    buffer = channel.get_buffer(len(data))
    buffer[: len(data)] = data
    channel.buffer_updated(len(data))


@on_every_loop
async def test_a_peer_that_makes_tls_answer_and_reads_nothing_is_disconnected() -> None:
    with channel_on(AnsweringSession) as (channel, transport):
        asked = 0
        while not transport.aborted and asked < MAX_UNSENT_BYTES:
            receive(channel, bytes(1_000))
            asked += 1
        assert transport.unsent <= MAX_UNSENT_BYTES + 1_000
        assert channel.ending is Ending.READER_SLOW
        assert asked > MAX_UNSENT_BYTES // 1_000


@pytest.mark.parametrize("option", ["SO_KEEPALIVE", "TCP_NODELAY"])
@on_every_loop
async def test_small_frames_leave_at_once_and_the_kernel_watches_for_vanished_peers(
    option: str,
) -> None:
    level = socket.SOL_SOCKET if option.startswith("SO_") else socket.IPPROTO_TCP
    with channel_on(Session) as (_, transport):
        connection: socket.socket = transport.get_extra_info("socket")
        assert connection.getsockopt(level, getattr(socket, option)) == 1
        if sys.platform == "linux":
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10


@on_every_loop
async def test_a_channel_that_was_ended_before_it_began_takes_no_connection() -> None:
    with channel_on(Session) as (channel, _), socket.socket() as another:
        channel.abort(Ending.ASKED)
        late = UnreadTransport(another)
        channel.connection_made(late)
        assert late.aborted
        assert late.unsent == 0


def keeping(came: list[bytes]) -> type[Session]:
    """A session that keeps what it is given."""

    class KeepingSession(Session):
        def receive(self, ciphertext: bytes | memoryview) -> list[bytes]:
            came.append(bytes(ciphertext))
            return []

    return KeepingSession


def test_loops_of_two_threads_do_not_read_into_one_buffer() -> None:
    came: dict[bytes, list[bytes]] = {b"one": [], b"two": []}
    both_read = threading.Barrier(2, timeout=30)

    async def read(data: bytes) -> None:
        with channel_on(keeping(came[data])) as (channel, _):
            channel.get_buffer(len(data))[: len(data)] = data
            both_read.wait()
            channel.buffer_updated(len(data))

    threads = [threading.Thread(target=asyncio.run, args=(read(data),)) for data in came]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert came == {b"one": [b"one"], b"two": [b"two"]}
