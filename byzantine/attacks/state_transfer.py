"""Attacks on checkpoints and state transfer (catalogue 39 to 48).

Among seven, two members lie in the same way at the same time, each with its own key. A laggard is an honest
member that is cut off from all but the liars for a while: so it asks these first.
"""

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import EVERY_MS, ROUNDS, backups, liars, lie, staged, work
from byzantine.scenario import Disk, Expect, Isolate, Lie, Mend, Partition, Scenario, Step, Tunes

PBFT = "Castro and Liskov 1999"
GROUP = "state-transfer"

PATIENT = Tunes(batch_target=2, request_timeout_ms=1_500)
"""Nobody suspects for what the stage does to the links."""

CUT_MS, MEND_MS = 100, 1_100
"""When a laggard falls behind, and when it sees the others again."""


def _quiet(name: str, n: int, seed: int, *lies: Lie | str, expect: Expect, rounds: int = ROUNDS) -> Scenario:
    """Liars follow an honest primary on links that do nothing wrong."""
    lied = liars(backups(n, seed), *(lies or (name,)))
    heal_at_ms = 1_500 + (rounds - ROUNDS) * EVERY_MS
    return staged(name, n, seed, *lied, steps=work(seed, rounds), expect=expect, heal_at_ms=heal_at_ms)


def _laggard(n: int, lying: list[int]) -> int:
    """Return an honest member that does not lead the first two views."""
    return next(member for member in range(n - 1, 1, -1) if member not in lying)


def _lagging(
    name: str,
    n: int,
    seed: int,
    *lies: Lie | str,
    expect: Expect,
    more: tuple[Step, ...] = (),
    mend_ms: int = MEND_MS,
) -> Scenario:
    """Liars vote as they should, so that the honest go on without the laggard, and serve it as they like."""
    lying = backups(n, seed)
    laggard = _laggard(n, lying)
    rest = tuple(member for member in range(n) if member != laggard and member not in lying)
    cut = Partition(at_ms=CUT_MS, groups=(rest, (laggard,)))
    steps = (*work(seed, rounds=20), cut, *more, Mend(at_ms=mend_ms))
    lied = liars(lying, *(lies or (name,)))
    heal_at_ms = mend_ms + 400
    return staged(name, n, seed, *lied, steps=steps, expect=expect, tuning=PATIENT, heal_at_ms=heal_at_ms)


@attack(
    "wrong-hash",
    39,
    GROUP,
    does="Liars attest another block at each checkpoint, all of them the same one.",
    attacks="A",
    rule="A checkpoint is stable at a quorum of matching attestations, which the honest are without them (rule 9).",
    source=f"{PBFT}, 4.3",
)
def wrong_hash(n: int, seed: int) -> Scenario:
    """Tolerated: nobody signed two statements. Who is slower than a quorum attests nothing, so that it takes
    several checkpoints."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _quiet("wrong-hash", n, seed, expect=expect, rounds=30)


@attack(
    "wrong-hash-needed",
    39,
    GROUP,
    does="The same while honest members are away, so that no checkpoint is stable without liars.",
    attacks="A, L",
    rule="No log is cut before a quorum agrees (rule 9): the window fills, and moves on when the others are back.",
    source=f"{PBFT}, 4.3",
)
def wrong_hash_needed(n: int, seed: int) -> Scenario:
    """As many honest members are away as a quorum can spare."""
    lying = backups(n, seed)
    honest = [member for member in range(n) if member not in lying]
    spared = honest[-((n - 1) // 3) :]
    steps = (*work(seed, rounds=30), *(Isolate(at_ms=50, member=member) for member in spared))
    steps = (*steps, Mend(at_ms=2_000))
    expect = Expect(no_evidence=True, live_within_ms=3_000)
    lied = liars(lying, "wrong-hash")
    return staged("wrong-hash-needed", n, seed, *lied, steps=steps, expect=expect, heal_at_ms=2_000)


@attack(
    "two-faced-attestations",
    39,
    GROUP,
    does="Liars attest the right block towards some members, and another one towards the primary and the next.",
    attacks="A",
    rule="Each member counts what it was told; certificates of a quorum are what is passed on (rule 9).",
    source=f"{PBFT}, 4.3",
)
def two_faced_attestations(n: int, seed: int) -> Scenario:
    """Tolerated: no honest member holds both."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _quiet(
        "two-faced-attestations", n, seed, lie("wrong-hash", peers=(0, 1)), expect=expect, rounds=30
    )


@attack(
    "diverged",
    39,
    GROUP,
    does="The application of some members, honest in all else, leaves a wrong state from some block on.",
    attacks="A, V",
    rule="Who finds its own block against a certified one halts and says so; clients need f+1 that agree (rule 9).",
    source="design; Tendermint's app hash",
)
def diverged(n: int, seed: int) -> Scenario:
    """They halt; the others go on."""
    lies = lie("diverge", sequences=(2, 4))
    halted = tuple(backups(n, seed))
    expect = Expect(view="kept", no_evidence=True, halted=halted, live_within_ms=500)
    return _quiet("diverged", n, seed, lies, expect=expect)


@attack(
    "flood-attestations",
    40,
    GROUP,
    does="Liars attest heights far in the future without end.",
    attacks="R",
    rule="Beyond the window one attestation of each member is kept, the highest.",
    source="Aardvark 2009",
)
def flood_attestations(n: int, seed: int) -> Scenario:
    """Bounded, and counted."""
    refused = ("said before", "no checkpoint height")
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    return _quiet("flood-attestations", n, seed, expect=expect)


@attack(
    "attest-early",
    41,
    GROUP,
    does="Liars attest what others attest before they executed it, while an honest member is away.",
    attacks="L",
    rule="A log is cut only when the own state has reached the checkpoint; laggards fetch blocks (rules 9 and 15).",
    source=f"{PBFT}, 4.3",
)
def attest_early(n: int, seed: int) -> Scenario:
    """The laggard finds what it lacks at the honest, for the liars have no more than it has."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000)
    return _lagging("attest-early", n, seed, expect=expect)


@attack(
    "two-attestations",
    42,
    GROUP,
    does="Liars attest two different blocks at each checkpoint, before it is reached.",
    attacks="F",
    rule="The first of a member counts, and a different one is evidence (rule 17).",
    source="design",
)
def two_attestations(n: int, seed: int) -> Scenario:
    """Proven."""
    refused = ("contradicts what its sender said before",)
    expect = Expect(evidence=tuple(backups(n, seed)), view="kept", refused=refused, live_within_ms=500)
    return _quiet("two-attestations", n, seed, expect=expect)


@attack(
    "bad-blocks",
    43,
    GROUP,
    does="Liars serve a laggard blocks with wrong transactions, signatures, certificates or heights.",
    attacks="V, L",
    rule="Every block is proven by its certificate, every transaction by its signature; the source is asked last.",
    source="Aardvark 2009; Tendermint's block sync",
)
def bad_blocks(n: int, seed: int) -> Scenario:
    """Refused, however often it asks; it catches up by the honest."""
    expect = Expect(view="kept", no_evidence=True, refused=("catch-up: wrong block",), live_within_ms=2_000)
    return _lagging("bad-blocks", n, seed, expect=expect)


@attack(
    "endless-questions",
    43,
    GROUP,
    does="Liars ask for the whole chain and for bodies that do not exist, over and over again.",
    attacks="R, L",
    rule="Each member's questions wait in a short queue, are answered one per turn, and are metered.",
    source="Aardvark 2009",
)
def endless_questions(n: int, seed: int) -> Scenario:
    """Bounded, and counted."""
    refused = ("member: too many questions",)
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    return _quiet("endless-questions", n, seed, lie("endless-questions", from_ms=600, times=4), expect=expect)


@attack(
    "phantom-height",
    44,
    GROUP,
    does="Liars claim to have executed thousands of blocks more than there are.",
    attacks="L",
    rule="A claim makes others ask, and no more: whoever has nothing is asked later, and votes go on.",
    source="Tendermint's block sync",
)
def phantom_height(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _quiet("phantom-height", n, seed, expect=expect)


@attack(
    "phantom-height-to-laggard",
    44,
    GROUP,
    does="The same towards a laggard that sees nobody else for a while.",
    attacks="L",
    rule="What the liars do not have is asked of others as soon as these say that they have it (rule 15).",
    source="Tendermint's block sync",
)
def phantom_height_to_laggard(n: int, seed: int) -> Scenario:
    """It takes what they have, and then waits for nothing that is not there."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000)
    return _lagging("phantom-height-to-laggard", n, seed, "phantom-height", expect=expect)


@attack(
    "phantom-target",
    44,
    GROUP,
    does="Liars pass on certificates of checkpoints that do not exist.",
    attacks="L",
    rule="A certificate verifies as a whole at the door, or there is no target (rule 18).",
    source="Tendermint's state sync",
)
def phantom_target(n: int, seed: int) -> Scenario:
    """Refused."""
    refused = ("engine message: malformed", "engine message: bad signature")
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    return _quiet("phantom-target", n, seed, expect=expect)


@attack(
    "claims-need",
    44,
    GROUP,
    does="Liars claim in every STATUS that they need blocks up to a height far ahead to vote again.",
    attacks="R",
    rule="Empty blocks are ordered up to a few windows ahead for each member, and seldom.",
    source="ADR 1",
)
def claims_need(n: int, seed: int) -> Scenario:
    """A bounded number of empty blocks comes of it."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000)
    return _quiet("claims-need", n, seed, expect=expect)


@attack(
    "vanished-certificate",
    45,
    GROUP,
    does="Liars alone hold the certificates of some decisions, since they keep their COMMITs; then they vanish.",
    attacks="L, A",
    rule="Whoever prepared shows it in the next view, where the same batches are decided (rules 2 and 3).",
    source=f"{PBFT}, 4.4",
)
def vanished_certificate(n: int, seed: int) -> Scenario:
    """No honest member decides while as many of these are away as a quorum can spare."""
    lying = backups(n, seed)
    honest = [member for member in range(n) if member not in lying]
    spared = honest[-((n - 1) // 3) :]
    away = tuple(Isolate(at_ms=150, member=member) for member in spared[:1])
    steps = (*work(seed, rounds=20), *away, Mend(at_ms=1_000))
    lied = liars(lying, lie("hold-certificate", from_ms=150, vanish_ms=500))
    expect = Expect(view="changed", no_evidence=True, live_within_ms=1_000)
    return staged("vanished-certificate", n, seed, *lied, steps=steps, expect=expect)


@attack(
    "confided-certificate",
    45,
    GROUP,
    does="The same, but before they vanish they serve these blocks to one honest member.",
    attacks="L",
    rule="Whoever learnt a block holds its certificate, and serves it like one that it decided (rule 14).",
    source="Fabric's smartbft",
)
def confided_certificate(n: int, seed: int) -> Scenario:
    """The others learn from that one, without a new view."""
    lying = backups(n, seed)
    away = Isolate(at_ms=150, member=_laggard(n, lying))
    steps = (*work(seed, rounds=20), away, Mend(at_ms=1_400))
    lied = liars(lying, lie("hold-certificate", from_ms=150, vanish_ms=1_200, confides=1))
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000)
    return staged("confided-certificate", n, seed, *lied, steps=steps, expect=expect, tuning=PATIENT)


@attack(
    "mixed-checkpoint",
    46,
    GROUP,
    does="Liars pass on certificates with one checkpoint's statement and another's votes, or another epoch.",
    attacks="A",
    rule="Votes are verified over the statement with kind, chain and epoch (rule 18).",
    source="Tendermint's light-client attacks",
)
def mixed_checkpoint(n: int, seed: int) -> Scenario:
    """Refused. It takes two checkpoints to mix them."""
    refused = ("engine message: malformed", "engine message: bad signature")
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    lied = liars(backups(n, seed), "mixed-checkpoint")
    steps = work(seed, rounds=24)
    return staged("mixed-checkpoint", n, seed, *lied, steps=steps, expect=expect, heal_at_ms=2_000)


@attack(
    "mixed-commits",
    46,
    GROUP,
    does="Liars serve blocks under certificates with another block's votes, view, sequence or epoch.",
    attacks="A, V",
    rule="A commit certificate binds view, sequence and digest, and stands by its signatures (rule 18).",
    source="Tendermint's light-client attacks",
)
def mixed_commits(n: int, seed: int) -> Scenario:
    """Refused."""
    expect = Expect(view="kept", no_evidence=True, refused=("catch-up: wrong block",), live_within_ms=2_000)
    return _lagging("mixed-commits", n, seed, expect=expect)


@attack(
    "slow-serving",
    47,
    GROUP,
    does="Liars serve a laggard one block at a time, later than it waits.",
    attacks="L",
    rule="Who is slower by far than others is asked last for a while; a late answer was not asked for.",
    source="Aardvark 2009",
)
def slow_serving(n: int, seed: int) -> Scenario:
    """It waits for a liar's answer, and not much longer than others took for theirs. Of many liars it does not
    come to each."""
    refused, fired = ("catch-up: silent source",), ("slow-serving",)
    expect = Expect(view="kept", no_evidence=True, refused=refused, fired=fired, live_within_ms=1_000)
    return _lagging("slow-serving", n, seed, expect=expect, mend_ms=1_900)


@attack(
    "rewritten-chain",
    48,
    GROUP,
    does="Liars serve a member that lost its disk a chain of their own, linked and consistent in itself.",
    attacks="V, F",
    rule="Each batch is proven by its quorum's COMMITs, and blocks are computed anew, never believed (rule 14).",
    source="Tendermint's long-range attacks",
)
def rewritten_chain(n: int, seed: int) -> Scenario:
    """Refused from the first block on. It is back, without its disk, long before it sees others than liars."""
    lying = backups(n, seed)
    lost = Disk(at_ms=500, member=_laggard(n, lying), what="lose")
    expect = Expect(view="kept", no_evidence=True, refused=("catch-up: wrong block",), live_within_ms=2_000)
    return _lagging("rewritten-chain", n, seed, expect=expect, more=(lost,), mend_ms=1_900)
