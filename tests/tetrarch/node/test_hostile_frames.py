"""Nothing that a member or a client sends stops a replica or changes what it has."""

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.attestation import Height
from crypto.roster import MemberId
from ledger.transaction import transaction_id
from tests.tetrarch.node.network import Network
from tests.tetrarch.node.support import now_at
from tetrarch.node.effects import ConnectionId
from tetrarch.wire import (
    AskAttestation,
    AskBlocks,
    AskBodies,
    AskOutcome,
    AskQuery,
    AskRange,
    AskRead,
    AskReceipt,
    AskStatus,
    Bodies,
    Range,
    Submit,
    pack,
)

HUGE = Height(2**53 - 1)


def busy_network() -> tuple[Network, list[bytes]]:
    """A network with some history, and one frame of every kind."""
    network = Network()
    recorded: list[bytes] = []
    network.submit(*network.transactions(0, 3))
    for _ in range(30):
        network.run(1)
        recorded += [frame for _, _, target, frame in network.frames if target == 0]
    network.run(1_000)
    raw = network.transactions(0, 1)[0]
    tx_id = transaction_id(raw)
    blocks = tuple(network.heart(1).ledger.blocks_from(Height(1), Height(1), 10**6))
    frames = [
        pack(frame)
        for frame in (
            Submit(True, (raw, b"", b"\x00" * 70_000)),
            AskOutcome(1, raw),
            AskReceipt(1, tx_id),
            AskAttestation(1, HUGE),
            AskRead(1, b"\xff" * 256, HUGE),
            AskRead(1, b"", Height(0)),
            AskQuery(1, b'{"key":"k","op":"get"}', Height(0)),
            AskQuery(1, b"\xff" * 16_384, HUGE),
            AskBlocks(1, HUGE, True),
            AskBlocks(1, Height(0), False),
            AskStatus(1),
            Bodies(True, (raw, b"\x01")),
            Bodies(False, ()),
            AskBodies((tx_id, tx_id)),
            AskRange(Height(0), HUGE),
            AskRange(HUGE, Height(0)),
            Range(Height(1), blocks),
            Range(HUGE, ()),
        )
    ]
    return network, frames + list(dict.fromkeys(recorded))


NETWORK, FRAMES = busy_network()


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A frame as it is, truncated, lengthened, with bytes changed, or mere noise."""
    frame = draw(st.sampled_from(FRAMES) | st.binary(max_size=200))
    match draw(st.sampled_from(["as it is", "cut", "longer", "flipped", "another type"])):
        case "cut":
            return frame[: draw(st.integers(0, len(frame)))]
        case "longer":
            return frame + draw(st.binary(min_size=1, max_size=20))
        case "flipped" if frame:
            at = draw(st.integers(0, len(frame) - 1))
            return frame[:at] + bytes([frame[at] ^ draw(st.integers(1, 255))]) + frame[at + 1 :]
        case "another type" if frame:
            return bytes([draw(st.integers(0, 255))]) + frame[1:]
    return frame


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(1, 6), hostile()), min_size=1, max_size=8))
def test_hostile_frames_change_no_chain_and_stop_no_heart(frames: list[tuple[int, bytes]]) -> None:
    heart = NETWORK.heart(0)
    before = (heart.ledger.height, heart.ledger.head_hash)
    for sender, frame in frames:
        if sender <= 3:
            heart.peer_frame(MemberId(sender), frame)
        else:
            heart.client_frame(ConnectionId(sender), frame)
    for _ in range(5):
        heart.turn(now_at(NETWORK.at))
    assert (heart.ledger.height, heart.ledger.head_hash) == before
    assert heart.failure is None
    assert heart.engine.status().halted is None
