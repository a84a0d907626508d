"""Asking every replica once what it is doing: for `status`, and for whoever waits until a network is up.

What lives here: one question to each, all at the same time. What must not be known here: where replicas are
found (a `Dialer` knows), and how the answers are shown. Nothing said here is proven: it is for people.
"""

import asyncio
from typing import Any, Final

from crypto.errors import CodecError
from crypto.roster import MemberId
from ledger.genesis import Genesis
from tetrarch.client.states import ReplicaStatus
from tetrarch.client.transport import Dialer
from tetrarch.client.tuning import CLOSING_SECONDS
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import TO_CLIENTS, AskStatus, StatusReply, pack

ANSWER_SECONDS: Final = 3.0
"""How long one replica may take to be dialled and to answer; it takes some ms unless its machine is busy."""

MAX_ANSWER_BYTES: Final = 256 * 1024
"""A status has some hundred counters at most."""


async def survey(genesis: Genesis, dialer: Dialer, seconds: float = ANSWER_SECONDS) -> list[ReplicaStatus]:
    """Return what every replica answers, or why it does not, by member, after `seconds` at the latest."""
    asks = [
        ask(MemberId(place), member.name, dialer, seconds) for place, member in enumerate(genesis.members)
    ]
    return list(await asyncio.gather(*asks))


async def ask(member: MemberId, name: str, dialer: Dialer, seconds: float = ANSWER_SECONDS) -> ReplicaStatus:
    """Return what one replica answers, or why it does not, after `seconds` at the latest."""
    try:
        async with asyncio.timeout(seconds):
            return ReplicaStatus(member, name, await _answer(member, dialer))
    except TimeoutError:
        return ReplicaStatus(member, name, None, "it does not answer")
    except (OSError, CodecError) as error:
        return ReplicaStatus(member, name, None, " ".join(str(error).split()) or type(error).__name__)


async def _answer(member: MemberId, dialer: Dialer) -> StatusReply:
    """Dial one replica and return its status. Raises `OSError`, `CodecError` for what is no status."""
    decoder = FrameDecoder(TO_CLIENTS, MAX_ANSWER_BYTES)
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def receive(frame: bytes) -> None:
        if not answer.done():
            answer.set_result(frame)

    connection = await dialer.dial(member, receive)
    closed = asyncio.ensure_future(connection.wait_closed())
    try:
        connection.send(pack(AskStatus(1)))
        waited: list[asyncio.Future[Any]] = [answer, closed]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise OSError(f"the connection was closed: {closed.result()}")
        reply = decoder.decode(answer.result())
    finally:
        connection.close()
        # What was closed may still have to say so: replicas that are asked often would count many who are
        # gone.
        await asyncio.wait((closed,), timeout=CLOSING_SECONDS)
        closed.cancel()
    if not isinstance(reply, StatusReply):
        raise CodecError(f"it answers {type(reply).__name__} to a question for its status")
    return reply
