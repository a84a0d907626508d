"""Blocks for subscribers: answered at once where they exist, held open until there is one otherwise."""

from dataclasses import dataclass

from msgspec.structs import replace

from crypto.attestation import Height
from crypto.batch import Millis
from ledger.block import block_hash
from ledger.ledger import Ledger
from tetrarch.node.attester import Attester
from tetrarch.node.effects import ConnectionId, Counters, Effects
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import MAX_RANGE, AskBlocks, Blocks, pack


@dataclass(frozen=True, slots=True)
class _Poll:
    connection: ConnectionId
    question: AskBlocks
    expires: Millis


class Blockstream:
    """AskBlocks: answers from the store, and the questions that wait for a block to come."""

    def __init__(self, ledger: Ledger, attester: Attester, limits: NodeLimits, counters: Counters) -> None:
        self._ledger = ledger
        self._attester = attester
        self._limits = limits
        self._counters = counters
        self.polls: dict[tuple[ConnectionId, int], _Poll] = {}
        """Questions that are held, in the order of their deadlines, since all are held for the same time."""
        self._held: dict[ConnectionId, int] = {}

    def ask(self, connection: ConnectionId, question: AskBlocks, monotonic: Millis, effects: Effects) -> int:
        """Answer or hold `question`; returns 1 where blocks were read, else 0."""
        if question.first <= self._ledger.height:
            self._send(connection, question, effects)
            return 1
        held = self._held.get(connection, 0)
        key = (connection, question.request)
        if (
            held >= self._limits.polls_per_connection
            or len(self.polls) >= self._limits.polls
            or key in self.polls
        ):
            self._counters.count("client: too many polls")
            effects.to_clients.append((connection, pack(Blocks(question.request, (), ()))))
            return 0
        self._held[connection] = held + 1
        self.polls[key] = _Poll(connection, question, Millis(monotonic + self._limits.poll_ms))
        return 0

    def due(self) -> list[tuple[ConnectionId, AskBlocks]]:
        """Take out the held questions that can be answered now."""
        height = self._ledger.height
        ready = [poll for poll in self.polls.values() if poll.question.first <= height]
        for poll in ready:
            self._release(poll)
        return [(poll.connection, poll.question) for poll in ready]

    def expire(self, monotonic: Millis, effects: Effects) -> None:
        """Answer with nothing those that were held long enough."""
        for poll in list(self.polls.values()):
            if poll.expires > monotonic:
                return
            self._release(poll)
            effects.to_clients.append((poll.connection, pack(Blocks(poll.question.request, (), ()))))

    def deadline(self) -> Millis | None:
        """Return when the next held question expires (monotonic ms)."""
        if not self.polls:
            return None
        return next(iter(self.polls.values())).expires

    def gone(self, connection: ConnectionId) -> None:
        """Forget what this connection asked."""
        if self._held.get(connection):
            for poll in [poll for poll in self.polls.values() if poll.connection == connection]:
                self._release(poll)

    def _release(self, poll: _Poll) -> None:
        del self.polls[poll.connection, poll.question.request]
        self._held[poll.connection] -= 1
        if not self._held[poll.connection]:
            del self._held[poll.connection]

    def _send(self, connection: ConnectionId, question: AskBlocks, effects: Effects) -> None:
        first, head = Height(max(question.first, 1)), self._ledger.height
        if question.full:
            last = Height(min(head, first + MAX_RANGE - 1))
            found = self._ledger.blocks_from(first, last, self._limits.blocks_bytes)
            reply = Blocks(question.request, tuple(replace(block, certificate=b"") for block in found), ())
        else:
            last = Height(min(head, first + self._limits.attestations_per_answer - 1))
            envelopes = []
            for number in range(first, last + 1):
                header = self._ledger.header(Height(number))
                if header is None:
                    break
                envelopes.append(self._attester.attest(header.height, block_hash(header)))
            reply = Blocks(question.request, (), tuple(envelopes))
        effects.to_clients.append((connection, pack(reply)))
