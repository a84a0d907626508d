"""What hostile clients do (catalogue 52 to 56), and their part in entries about the network (59, 61 to 63).

What lives here: behaviours of hostile clients. What must not be known here: networks in which they are staged
(`byzantine.attacks`).
"""

from collections import Counter
from typing import ClassVar

from byzantine.liars.client import TAG, ClientBehaviour, Connections, Stage, Unread, client_behaviour
from byzantine.liars.encodings import bombs, odd_forms
from byzantine.liars.parameters import Parameters
from byzantine.liars.signing import (
    LOW,
    for_low_order_key,
    low_order_nonce,
    malleated,
    mixed_order_key,
    mixed_order_nonce,
    real,
    sign_for_mixed,
)
from byzantine.scenario import Lie
from crypto.attestation import Height
from crypto.batch import MAX_MILLIS
from crypto.codec import encode
from crypto.digest import digest
from network.framing import frame as framed
from tetrarch.wire import MAX_CLIENT_FRAME_BYTES, AskBlocks, AskStatus, Submit, pack


@client_behaviour("same-nonce")
class SameNonce(ClientBehaviour):
    """Signs two payloads with one nonce, sends one to one half of the members and the other to the others,
    and then both to all."""

    def speak(self) -> None:
        """Two transactions, since an id covers the payload."""
        if not self.may_fire():
            return
        nonce = self.random.randbytes(16)
        pair = [self.signed(self.body(nonce=nonce)) for _ in range(2)]
        half = len(self.members) // 2
        self.fire()
        self.submit(pair[:1], self.members[:half])
        self.submit(pair[1:], self.members[half:])
        self.client.after(40, lambda: self.submit(pair))


@client_behaviour("lax-signatures")
class LaxSignatures(ClientBehaviour):
    """Sends transactions under signatures and keys that only lax verifiers of Ed25519 accept; some also under
    a good signature a little later."""

    def __init__(self, client: Connections, lie: Lie, seed: str) -> None:
        super().__init__(client, lie, seed)
        self._key = real(client.signer(0))

    def speak(self) -> None:
        """All kinds: S not reduced, R of low or mixed order, keys of low or mixed order."""
        if not self.may_fire():
            return
        data = encode(self.body())
        message = TAG + data
        lax = [
            self.own(make(self._key, message) + data)
            for make in (
                lambda key, signed: malleated(key.sign(signed)),
                mixed_order_nonce,
                low_order_nonce,
            )
        ]
        good = self.signed(data)
        self.fire()
        self.submit([*lax, self._mixed_key(), self._low_key()])
        self.client.after(30, lambda: self.submit([good]))

    def _mixed_key(self) -> bytes:
        sender = mixed_order_key(self._key)
        while True:
            data = encode(self.body(sender=sender))
            signature = sign_for_mixed(self._key, TAG + data)
            if signature is not None:
                return self.own(signature + data)

    def _low_key(self) -> bytes:
        data = encode(self.body(sender=LOW))
        return self.own(for_low_order_key(self._key, TAG + data) + data)


@client_behaviour("edge-of-validity")
class EdgeOfValidity(ClientBehaviour):
    """Sends transactions whose validity ends at once, ended before, or lies at or beyond the horizon, to all
    or to one member alone. With `near_ms`: such as end within that time alone."""

    parameters: ClassVar[Parameters] = {"near_ms": 0}

    def speak(self) -> None:
        """Both ends."""
        if not self.may_fire():
            return
        wall, horizon = self.client.wall_ms(), self.client.genesis.horizon_ms
        soon = [wall + self.random.randrange(most) for most in (60, 60, 60, 60, 6_000, 6_000)]
        far = [wall + horizon + more for more in (-1_000, -1, 0, 1_000)]
        edges = [0, wall - 1, *soon, *far, MAX_MILLIS]
        if near := self.number("near_ms"):
            edges = [wall + self.random.randrange(near) for _ in edges]
        raws = [self.signed(self.body(valid_until=edge)) for edge in edges]
        self.fire()
        self.submit(raws, None if self.random.random() < 0.5 else (self.one_member(),))


@client_behaviour("flood")
class Flood(ClientBehaviour):
    """Asks more questions than one may, sends transactions under many keys with signatures good and bad, too
    large a payload, and in turn the largest frame, which makes no sense, and a larger one."""

    # Three times as many questions as a replica lets wait: where TLS cuts them in two, one part is too many.
    parameters: ClassVar[Parameters] = {"transactions": 40, "questions": 200}

    def speak(self) -> None:
        """`transactions` under so many keys, and `questions` at once."""
        if not self.may_fire():
            return
        count = self.number("transactions")
        signers = [self.client.signer(1 + number) for number in range(count)]
        good = [self.signed(self.body(sender=each.public_key), each) for each in signers]
        bad = [self.own(self.random.randbytes(64) + raw[64:]) for raw in good]
        large = self.signed(self.body(b"x" * self.client.genesis.max_transaction_bytes))
        self.fire()
        self.submit([*bad, *good, large])
        asked = (self.one_member(),) if self.lie.peers else self.members[:1]
        for request in range(self.number("questions")):
            self.send(AskStatus(request), asked)
        self.send(bytes((1,)) + bytes(MAX_CLIENT_FRAME_BYTES - self.fired % 2), (self.one_member(),))


@client_behaviour("fill-pool")
class FillPool(ClientBehaviour):
    """Sends more transactions at once than pools may hold, and more than one client's share."""

    parameters: ClassVar[Parameters] = {"count": 200}

    def speak(self) -> None:
        """`count` of them, in frames of a few hundred."""
        if not self.may_fire():
            return
        raws = [self.signed(self.body()) for _ in range(self.number("count"))]
        self.fire()
        for first in range(0, len(raws), 300):
            self.submit(raws[first : first + 300], self.lie.peers)


@client_behaviour("one-member-only")
class OneMemberOnly(ClientBehaviour):
    """Sends each transaction to one member only, and never again."""

    def speak(self) -> None:
        """A different one each time."""
        if not self.may_fire():
            return
        self.fire()
        self.submit([self.signed(self.body())], (self.one_member(),))


@client_behaviour("different-to-each")
class DifferentToEach(ClientBehaviour):
    """Sends every member transactions that no other is sent."""

    def speak(self) -> None:
        """Two for each."""
        if not self.may_fire():
            return
        self.fire()
        for member in self.members:
            self.submit([self.signed(self.body()) for _ in range(2)], (member,))


@client_behaviour("foreign-transactions")
class ForeignTransactions(ClientBehaviour):
    """Sends transactions that it signed for another chain, and the same with this chain's name put over
    it."""

    def speak(self) -> None:
        """The second's signature covers the other chain's name."""
        if not self.may_fire():
            return
        chain_id = digest("another chain")
        foreign = self.signed(self.body(chain_id=chain_id))
        here = self.client.genesis.chain_id
        self.fire()
        self.submit([foreign, self.own(foreign.replace(chain_id, here))])


@client_behaviour("malleated-transactions")
class MalleatedTransactions(ClientBehaviour):
    """Sends each transaction under two signatures: its own, and the same with the group's order added to S;
    the second first, or to half of the members only."""

    def __init__(self, client: Connections, lie: Lie, seed: str) -> None:
        super().__init__(client, lie, seed)
        real(client.signer(0))

    def speak(self) -> None:
        """One id, whatever the signature."""
        if not self.may_fire():
            return
        good = self.signed(self.body())
        other = self.own(malleated(good[:64]) + good[64:])
        half = self.random.sample(self.members, len(self.members) // 2)
        self.fire()
        self.submit([other])
        self.submit([good], half)
        self.client.after(20, lambda: self.submit([good, other]))


@client_behaviour("odd-client-encodings")
class OddClientEncodings(ClientBehaviour):
    """Signs transactions in encodings that mean the same and are not the canonical one, with unknown fields
    and trailing bytes; and sends frames in such encodings."""

    def speak(self) -> None:
        """All forms of one transaction, and the forms of one frame."""
        if not self.may_fire():
            return
        body = self.body()
        raws = [self.signed(form) for form in odd_forms(encode(body))]
        frame = pack(Submit(False, (self.signed(body),)))
        self.fire()
        self.submit(raws)
        for form in odd_forms(frame[1:]):
            self.send(frame[:1] + form)


@client_behaviour("client-bombs")
class ClientBombs(ClientBehaviour):
    """Sends frames that claim lengths they do not have, and nest without end."""

    def speak(self) -> None:
        """As every type of a client's frame."""
        if not self.may_fire():
            return
        self.fire()
        for kind in range(1, 9):
            for bomb in bombs():
                self.send(bytes((kind,)) + bomb, (self.one_member(),))


class _Leaving(ClientBehaviour):
    """Leaves connections of its own as they are, and opens others when members have ended those."""

    def __init__(self, client: Connections, lie: Lie, seed: str) -> None:
        super().__init__(client, lie, seed)
        self._left: dict[tuple[int, int], Unread] = {}
        """The last one by member, and by which of the connections to it."""
        self._begun: Counter[tuple[int, int]] = Counter()

    def leave(self, member: int, which: int, stage: Stage, data: bytes, most: int | None = None) -> None:
        """See to it that a connection is left at a stage, `data` having been sent over it. One that stands is
        sent nothing; `most`: how many are opened one after another."""
        left, begun = self._left.get((member, which)), self._begun
        if left is not None and not left.gone:
            return
        used_up = self.lie.times is not None and begun.total() >= self.lie.times
        if not used_up and (most is None or begun[member, which] < most):
            begun[member, which] += 1
            self._left[member, which] = self.client.leave(member, stage, data, self.fire)


@client_behaviour("half-open")
class HalfOpen(_Leaving):
    """Keeps `connections` open to each member, and leaves each at another stage for good: before its
    handshake, in the middle of it, or after it with half a frame."""

    parameters: ClassVar[Parameters] = {"connections": 12}

    def speak(self) -> None:
        """Every connection to each member that does not stand."""
        if not self.may_fire():
            return
        stages = tuple(Stage)
        for which in range(self.number("connections")):
            for member in self.lie.peers or self.members:
                half = framed(self.random.randbytes(64))[:34]
                self.leave(member, which, stages[which % len(stages)], half)


@client_behaviour("slow-reader")
class SlowReader(_Leaving):
    """Has large transactions ordered. Then it asks each member for whole blocks and its status again and
    again, over one connection for many at once, over another one for few, and never reads what is
    answered. When one has been ended it opens another, `connections` of each in all."""

    speaks_every_ms = 300
    parameters: ClassVar[Parameters] = {
        "transactions": 60,
        "bytes": 10_000,
        "questions": 60,
        "connections": 2,
    }

    LOADS = 3
    """How often it speaks before it asks: by then all that is large is in blocks."""
    FEW = 2
    """So few that what waits for it is not too much before it has waited too long."""

    def __init__(self, client: Connections, lie: Lie, seed: str) -> None:
        super().__init__(client, lie, seed)
        self._loads = 0

    def speak(self) -> None:
        """Ask over each connection."""
        if not self.may_fire():
            return
        if self._loads < self.LOADS:
            self._loads += 1
            self._load()
            return
        for member in self.lie.peers or self.members:
            for which, questions in enumerate((self.number("questions"), self.FEW)):
                asked = self._asked(questions)
                if (member, which) in self._left:
                    self._left[member, which].send(asked)
                self.leave(member, which, Stage.OPEN, asked, self.number("connections"))

    def _load(self) -> None:
        for _ in range(self.number("transactions") // self.LOADS):
            value = self.random.randbytes(self.number("bytes") // 2).hex()
            self.submit([self.signed(self.body({"op": "put", "key": "hostile", "value": value}))])

    def _asked(self, questions: int) -> bytes:
        asked = [AskBlocks(request, Height(1), True) for request in range(questions)]
        return b"".join(framed(pack(each)) for each in (*asked, AskStatus(questions)))
