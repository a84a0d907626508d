"""A world in which up to f whole replicas lie: the production heart, and what leaves it is twisted.

What the engines of liars say is `tests.pbft.liars`' part; here is what else a member sends: bodies, blocks,
questions, results and attestations to the client. Liars tell each other everything, and never forge. The
client believes as the real one does: what is signed, proven, and attested by f+1. `check` asks of the honest
alone.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import structs

from crypto import merkle
from crypto.attestation import Attestation, Height, attest, attested
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import Digest, digest
from crypto.roster import MemberId
from crypto.signed import Certificate, Envelope, Vote
from ledger.block import Block, Header, block_hash, result_leaf
from ledger.transaction import parse_transaction, transaction_id
from network.simulated import MILLISECOND
from pbft import Limits, Pbft
from pbft.messages import Commit, View
from pbft.state import MAX_EVIDENCE, MAX_STASH
from tests.pbft.liars import HUGE, MOODS, Liar, Memory
from tests.simulation.checking_client import CheckingClient
from tests.simulation.world import CLIENT, Client, Replica, World
from tests.tetrarch.node.support import KEYS, WALL, spoiled
from tetrarch.decoding import FrameDecoder
from tetrarch.engines import ordering
from tetrarch.node.effects import Effects
from tetrarch.node.heart import Heart
from tetrarch.trust import TrustRoot
from tetrarch.wire import (
    BETWEEN_MEMBERS,
    MAX_FRAME_BYTES,
    TO_CLIENTS,
    AskBodies,
    AskRange,
    Attested,
    Bodies,
    EngineMessage,
    Entry,
    Frame,
    Range,
    Results,
    pack,
)

LIE = b"a result that nobody computed"
BLAMING = ("evidence", "catch_up_wrong_block", "block_differs")
"""Events that name a member for what it said."""

_between = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)
_to_clients = FrameDecoder(TO_CLIENTS, MAX_FRAME_BYTES)


class LyingReplica(Replica):
    """One liar: its heart is an honest one, and whatever leaves goes through here."""

    world: "LyingWorld"

    def __init__(self, world: "LyingWorld", member: int) -> None:
        super().__init__(world, member)
        self.dice = world.dice
        self.liar = world.liars[member] = Liar(world, MemberId(member))
        world.at(0, self.liar.change_moods)
        world.at(self.dice.randint(1, 100), self.liar.speak)
        world.at(self.dice.randint(1, 100), self.speak)

    def send(self, released: list[Effects]) -> None:
        for effects in released:
            for member, frame in effects.to_members:
                self.tell(int(member), frame)
            for _, frame in effects.to_clients:
                self.answer(frame)

    def tell(self, to: int, data: bytes) -> None:
        """One frame for one member, as the mood towards it is."""
        frame = _between.decode(data)
        if isinstance(frame, EngineMessage):
            self.liar.pass_on(to, frame.envelope)
            return
        mood = self.liar.moods.get(to, "honest")
        frames = [frame]
        if mood == "mute":
            return
        if mood == "twist" and self.dice.random() < 0.7:
            frames = self.twist(frame)
        delay = self.dice.randint(0, 3000) if mood == "slow" else 0
        for each in frames * (3 if mood == "repeat" else 1):
            self.world.at(delay, partial(self.world.network.send, self.member, to, pack(each)))

    def twist(self, frame: Frame) -> list[Frame]:
        """What is sent instead, or beside."""
        dice = self.dice
        match frame:
            case Bodies():
                junk = structs.replace(frame, transactions=tuple(map(self.other_body, frame.transactions)))
                return dice.choice(
                    [[junk], [junk, frame], [structs.replace(frame, relayed=not frame.relayed)], []]
                )
            case Range():
                return [self.other_range(frame)]
            case AskBodies():
                return [self.some_question(), frame]
            case AskRange():
                return [structs.replace(frame, first=Height(frame.last + 1)), frame]
        return [frame]

    def other_body(self, raw: bytes) -> bytes:
        dice = self.dice
        return dice.choice([raw, spoiled(raw), dice.randbytes(200), dice.choice(self.world.sent or [raw])])

    def other_range(self, frame: Range) -> Range:
        """Wrong blocks, none, or all but the first."""
        dice, blocks = self.dice, list(frame.blocks)
        if dice.random() < 0.2:
            return Range(frame.first, (self.forged_block(frame.first),))
        if not blocks or dice.random() < 0.2:
            height = frame.first + dice.randint(0, 3)
            return Range(
                frame.first, tuple(self.invented_block(height + more) for more in range(dice.randint(0, 9)))
            )
        which = dice.randrange(len(blocks))
        block, other = blocks[which], dice.choice(blocks)
        fields = {
            name: dice.choice([getattr(block, name), getattr(other, name)])
            for name in Block.__struct_fields__
        }
        header, name = block.header, dice.choice(("parent", "batch", "result_root", "state_root"))
        blocks[which] = dice.choice(
            [
                Block(**fields),
                structs.replace(block, header=structs.replace(header, **{name: Digest(dice.randbytes(32))})),
                structs.replace(block, header=structs.replace(header, proposed=header.proposed + 1)),
                structs.replace(block, transactions=tuple(map(self.other_body, block.transactions))),
                structs.replace(block, transactions=block.transactions[::-1], results=block.results[::-1]),
                structs.replace(block, certificate=dice.randbytes(len(block.certificate))),
                structs.replace(block, results=tuple(LIE for _ in block.results)),
            ]
        )
        return Range(frame.first, tuple(blocks[: dice.randint(1, len(blocks))]))

    def invented_block(self, height: int) -> Block:
        header = self.invented_header(height, ())
        return Block(header, (self.dice.randbytes(1000),), (LIE,), b"")

    def forged_block(self, height: int) -> Block:
        """All fits together, but of the quorum that it names only this liar signed."""
        world, dice = self.world, self.dice
        raws = tuple(dice.sample(world.sent, min(2, len(world.sent))))
        root = transaction_root([transaction_id(raw) for raw in raws])
        header = self.invented_header(height, [])
        batch = batch_digest(world.genesis.chain_id, header.height, header.proposed, root)
        own = self.liar.sign(Commit(View(0), header.height, batch))
        votes = tuple(Vote(MemberId(member), own.signature) for member in range(world.quorum))
        certificate = encode(Certificate(own.kind, own.epoch, own.body, votes))
        header = structs.replace(header, batch=batch, transaction_root=root)
        return Block(header, raws, (LIE,) * len(raws), certificate)

    def some_question(self) -> Frame:
        dice = self.dice
        known = [transaction_id(raw) for raw in dice.sample(self.world.sent, min(3, len(self.world.sent)))]
        first = Height(dice.choice([0, 1, dice.randint(1, 50), HUGE]))
        ids = AskBodies((*known, TxId(Digest(dice.randbytes(32)))))
        return dice.choice([ids, AskRange(first, Height(dice.choice([first, HUGE])))])

    # To the client.

    def answer(self, data: bytes) -> None:
        mood = self.dice.choice(MOODS)
        frame = _to_clients.decode(data)
        frames = [frame]
        if mood == "mute":
            return
        if mood == "twist" and isinstance(frame, Results | Attested):
            frames = self.other_answer(frame)
        for each in frames:
            self.world.network.send(self.member, CLIENT, pack(each))

    def other_answer(self, frame: Results | Attested) -> list[Frame]:
        said, dice = attested(frame.attestation), self.dice
        if isinstance(frame, Attested):
            other = Digest(dice.randbytes(32))
            return [
                Attested(frame.request, self.attestation(said.height, other)),
                *dice.choice([[], [frame]]),
            ]
        entries = tuple(structs.replace(entry, result=LIE) for entry in frame.entries)
        lie = self.invented_results(frame.header.height, frame.entries[0].tx_id)
        return dice.choice([[lie], [lie, frame], [structs.replace(frame, entries=entries)]])

    def attestation(self, height: int, hashed: Digest) -> Envelope:
        said = Attestation(Height(height), hashed)
        return attest(self.world.roster, self.member, KEYS[self.member], said).envelope

    def invented_header(self, height: int, leaves: Sequence[bytes]) -> Header:
        """The same from every liar, so that they back each other."""
        some = digest("lie", b"")
        root = Digest(merkle.root(leaves))
        chain, epoch = self.world.genesis.chain_id, self.world.roster.epoch
        stamp = Millis(WALL + height)
        return Header(chain, epoch, Height(height), some, some, stamp, stamp, some, root, some)

    def invented_results(self, height: int, tx_id: TxId) -> Results:
        """Consistent, proven, signed, and wrong."""
        header = self.invented_header(height, [result_leaf(tx_id, LIE)])
        attestation = self.attestation(height, block_hash(header))
        return Results(0, attestation, header, 1, (Entry(0, tx_id, LIE),), ())

    def speak(self) -> None:
        """Say something unasked, and again after a while."""
        dice, world = self.dice, self.world
        raws = tuple(self.other_body(raw) for raw in dice.sample(world.sent, min(5, len(world.sent))))
        acts: list[Callable[[], Frame]] = [
            lambda: Bodies(dice.random() < 0.7, raws),
            self.some_question,
            lambda: Range(Height(dice.randint(1, 50)), (self.invented_block(1),)),
        ]
        for to in world.roster.members:
            if to != self.member and dice.random() < 0.5:
                data = pack(dice.choice(acts)()) if dice.random() < 0.9 else dice.randbytes(50)
                world.network.send(self.member, to, data)
        for to in dice.sample(world.roster.members, 2):
            victim = MemberId(dice.choice([other for other in world.roster.members if other != self.member]))
            world.say(self.member, int(to), structs.replace(self.liar.some_vote(), signer=victim))
        if world.client.open and dice.random() < 0.3:
            tx_id = dice.choice(list(world.client.open))
            world.network.send(self.member, CLIENT, pack(self.invented_results(dice.randint(1, 50), tx_id)))
        world.at(dice.randint(1, 4 * world.pause), self.speak)


class LyingWorld(World):
    """A world with liars, and the scene on which their engines lie."""

    def __init__(
        self, seed: int, n: int, liars: Sequence[int], policy: Any, checkpoint_interval: int
    ) -> None:
        self.dice = random.Random(f"lying world {seed} {n}")
        self.memory = Memory()
        self.liars: dict[int, Liar] = {}
        self.chosen = set(liars)
        self.keys = KEYS
        self.pause = self.dice.choice([20, 100, 400])
        self.sent: list[bytes] = []
        self.blamed: set[tuple[str, int]] = set()
        self.honest_hearts: dict[MemberId, Heart] = {}
        """As they last ran, be they down now."""
        super().__init__(seed, n, policy, checkpoint_interval)
        self.honest_hearts = {replica.member: replica.running_heart for replica in self.running}
        interval = self.genesis.checkpoint_interval
        self.limits = Limits(checkpoint_interval=interval, window=self.genesis.window)
        self.door = ordering(self.genesis, self.roster).door
        self.quorum = self.trust.quorum

    @property
    def trust(self) -> TrustRoot:
        return TrustRoot.of(self.genesis)

    def make_replica(self, member: int) -> Replica:
        return LyingReplica(self, member) if member in self.chosen else Replica(self, member)

    def make_client(self) -> Client:
        return CheckingClient(self)

    @property
    def running(self) -> list[Replica]:
        return [replica for replica in super().running if replica.member not in self.chosen]

    @property
    def honest(self) -> list[Any]:
        return list(self.honest_hearts.values())

    @property
    def wall(self) -> int:
        return WALL + self.scheduler.now_us // 1000

    def submit(self, count: int, to: Sequence[int] | None = None) -> list[bytes]:
        raws = super().submit(count, to)
        self.sent += raws
        return raws

    def id_of(self, number: int) -> TxId:
        return (
            transaction_id(self.sent[number])
            if number < len(self.sent)
            else TxId(digest("id", b"%d" % number))
        )

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self.scheduler.timer(delay * MILLISECOND, action)

    def say(self, source: int, to: int, envelope: Envelope) -> None:
        self.network.send(source, to, pack(EngineMessage(envelope)))

    def note(self, replica: Replica, effects: Effects) -> None:
        """Liars hear everything that honest members say, and honest members may blame liars alone."""
        if replica.member in self.chosen:
            return
        self.honest_hearts[replica.member] = replica.running_heart
        for frame in dict.fromkeys(frame for _, frame in effects.to_members):
            message = _between.decode(frame)
            if isinstance(message, EngineMessage):
                self.memory.note(message.envelope)
        for event in effects.events:
            if event.name in BLAMING:
                self.blamed.add((event.name, int(dict(event.facts)["member"] or 0)))

    def check(self) -> None:
        super().check()
        for replica in self.running:
            status = replica.running_heart.engine.status()
            assert status.halted is None, status.halted
            assert not status.marked, f"{replica.member} was marked"
            self.check_bounds(replica.running_heart)
        wrongly = {(what, member) for what, member in self.blamed if member not in self.chosen}
        assert not wrongly, f"honest members were blamed: {wrongly}"

    def check_bounds(self, heart: Heart) -> None:
        """What liars send must not heap up."""
        assert isinstance(heart.engine, Pbft)
        state, limits, n = heart.engine._state, heart.limits, self.n
        counts = {
            "messages": (max(map(len, heart._inbox._lanes)), limits.messages_per_member),
            "work": (max(heart._inbox._work), 2 * limits.message_work_per_member),
            "questions": (max(len(q.ranges) for q in heart._serving._questions), limits.asks_per_member),
            "blocks": (heart._catch_up.held, limits.range_bytes),
            "noted": (heart._admission.noted, len(heart._admission._coming)),
            "coming": (len(heart._admission._coming), limits.coming + n * limits.coming_per_member),
            "wanted": (len(heart._admission._wanted), limits.wanted),
            "signatures": (len(heart.verified), limits.verified_signatures),
            "slots": (len(state.slots), 3 * self.genesis.window),
            "batches": (
                max((len(slot.contents) for slot in state.slots.values()), default=0),
                n + state.view,
            ),
            "view changes": (len(state.view_changes), n),
            "later views": (max(map(len, state.stash.values()), default=0), MAX_STASH),
            "evidence": (max(state.convicted.values(), default=0), MAX_EVIDENCE),
            "pool": (len(state.pool), len(self.sent)),
        }
        beyond = {what: count for what, count in counts.items() if count[0] > count[1]}
        assert not beyond, f"(found, most): {beyond}"

    def check_durability(self) -> None:
        super().check_durability()
        client = self.client
        assert isinstance(client, CheckingClient)
        for replica in self.running:
            results = self.results_of(replica)
            for tx_id in client.believed:
                assert client.told[tx_id] == results[tx_id], "the client believed another result"

    def results_of(self, replica: Replica) -> Mapping[TxId, bytes]:
        ledger = replica.running_heart.ledger
        results: dict[TxId, bytes] = {}
        for height in range(1, ledger.height + 1):
            block = ledger.block(Height(height))
            assert block is not None
            for raw, result in zip(block.transactions, block.results, strict=True):
                check = parse_transaction(raw, self.genesis.chain_id, len(raw)).check
                assert self.checker.check([check]) == [True], "a transaction that its sender did not sign"
                results.setdefault(transaction_id(raw), result)
        return results
