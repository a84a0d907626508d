"""Attacks of backups with their votes (catalogue 17 to 26).

Among seven, two members lie in the same way at the same time, each with its own key, unless it is said
otherwise.
"""

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import backups, liar, liars, lie, staged, work
from byzantine.scenario import Expect, Isolate, Lie, Mend, Partition, Scenario, Step, Submit, Tunes

PBFT = "Castro and Liskov 1999"
GROUP = "backup"

PATIENT = Tunes(batch_target=2, request_timeout_ms=1_500)
"""Nobody suspects for what the stage does to the links."""

CONTRADICTS = "contradicts what its sender said before"


def _voting(name: str, n: int, seed: int, *lies: Lie | str, expect: Expect) -> Scenario:
    """Liars follow an honest primary on links that do nothing wrong."""
    return staged(name, n, seed, *liars(backups(n, seed), *(lies or (name,))), expect=expect)


def _alone(n: int, lying: list[int], seed: int) -> tuple[Step, ...]:
    """The primary is cut off with as many honest members as leave it one vote short of a quorum, if liars
    are counted once; they talk to both sides. The other side is a quorum with them, and leads view 1."""
    honest = [member for member in range(n) if member not in lying]
    few = [0, *honest[2 : 2 + (n - 1) // 3 - 1]]
    rest = [member for member in honest if member not in few]
    return (*work(seed), Partition(at_ms=150, groups=(tuple(few), tuple(rest))), Mend(at_ms=1_300))


@attack(
    "two-prepares",
    17,
    GROUP,
    does="Backups send PREPAREs for two batches at one sequence to everybody.",
    attacks="A, F",
    rule="A member's first vote counts, and the second one beside it is evidence (rule 17).",
    source=f"{PBFT}, 4.2; ByzzFuzz 2023",
)
def two_prepares(n: int, seed: int) -> Scenario:
    """Proven, and nothing else comes of it."""
    expect = Expect(evidence=tuple(backups(n, seed)), view="kept", refused=(CONTRADICTS,), live_within_ms=500)
    return _voting("two-prepares", n, seed, expect=expect)


@attack(
    "two-commits",
    17,
    GROUP,
    does="Backups send COMMITs for two batches at one sequence to everybody.",
    attacks="A, F",
    rule="A member's first vote counts, and the second one beside it is evidence (rule 17).",
    source=f"{PBFT}, 4.2; ByzzFuzz 2023",
)
def two_commits(n: int, seed: int) -> Scenario:
    """Proven, and nothing else comes of it."""
    expect = Expect(evidence=tuple(backups(n, seed)), view="kept", refused=(CONTRADICTS,), live_within_ms=500)
    return _voting("two-commits", n, seed, expect=expect)


@attack(
    "split-votes",
    17,
    GROUP,
    does="Backups vote for the proposal towards one half, and for another batch towards the other half.",
    attacks="A",
    rule="Honest votes are a quorum without theirs. No honest member holds both, so nobody is blamed.",
    source=f"{PBFT}, 4.2",
)
def split_votes(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _voting("split-votes", n, seed, expect=expect)


@attack(
    "repeat-votes",
    18,
    GROUP,
    does="Backups send each vote many times, also long after it was settled.",
    attacks="A, L",
    rule="One vote per member is counted; what is settled is dropped before its signature is verified (rule 17).",
    source="BFTSim 2008",
)
def repeat_votes(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(view="kept", no_evidence=True, refused=("engine message: redundant",), live_within_ms=500)
    return _voting("repeat-votes", n, seed, expect=expect)


@attack(
    "count-me-twice",
    18,
    GROUP,
    does="Backups vote at once and many times for what is proposed by a primary that is cut off with too few others.",
    attacks="A",
    rule="Distinct members make a quorum (rule 17): the few decide nothing, the many go on in the next view.",
    source="Bitcoin's and Tendermint's advisories of repeated signers",
)
def count_me_twice(n: int, seed: int) -> Scenario:
    """One view is left by those who are many. If repeats counted, both sides would decide."""
    lying = backups(n, seed)
    expect = Expect(view="changed", no_evidence=True, live_within_ms=500)
    return staged(
        "count-me-twice",
        n,
        seed,
        *liars(lying, lie("early-votes", copies=8)),
        steps=_alone(n, lying, seed),
        expect=expect,
    )


@attack(
    "bad-signature",
    19,
    GROUP,
    does="Backups send, before or after each vote, one with a wrong signature, for the same batch or another.",
    attacks="V",
    rule="What does not verify is no vote and no evidence: the right one counts, whichever comes first.",
    source="Aardvark 2009",
)
def bad_signature(n: int, seed: int) -> Scenario:
    """Refused, and nobody is blamed for what nobody signed."""
    refused = ("engine message: bad signature",)
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    return _voting("bad-signature", n, seed, expect=expect)


@attack(
    "another-id",
    20,
    GROUP,
    does="Backups vote and suspect in the name of every other member, whoever reads it included.",
    attacks="A, L",
    rule="A statement verifies under the key of the member that it names, or is dropped.",
    source=f"{PBFT}, 2",
)
def another_id(n: int, seed: int) -> Scenario:
    """No victim is blamed, none takes its own disk for an old one, and the view stays."""
    refused = ("engine message: bad signature",)
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    return _voting("another-id", n, seed, expect=expect)


@attack(
    "sequence-off-by-one",
    21,
    GROUP,
    does="Backups vote for each batch under the next sequence.",
    attacks="A",
    rule="Votes match in view, sequence and digest at once (rule 18): these count for nothing.",
    source="ByzzFuzz 2023",
)
def sequence_off_by_one(n: int, seed: int) -> Scenario:
    """Tolerated: each is the only vote of its member there."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _voting("sequence-off-by-one", n, seed, expect=expect)


@attack(
    "view-off-by-one",
    21,
    GROUP,
    does="Backups send each vote for the next view as well, before and while the view is changed.",
    attacks="A",
    rule="Votes of later views are kept, few of each member, until that view starts, and count there alone.",
    source="ByzzFuzz 2023",
)
def view_off_by_one(n: int, seed: int) -> Scenario:
    """The primary is cut off for a while, so that the next view starts with these votes at hand."""
    steps = (*work(seed), Isolate(at_ms=250, member=0), Mend(at_ms=1_300))
    expect = Expect(view="changed", refused=("of a later view, kept for it",), live_within_ms=1_000)
    lying = liars(backups(n, seed), "view-off-by-one")
    return staged("view-off-by-one", n, seed, *lying, steps=steps, expect=expect)


@attack(
    "old-view-votes",
    23,
    GROUP,
    does="Backups send each vote for the view before as well, and show all old votes again.",
    attacks="A",
    rule="Votes of earlier views are dropped before their signatures are verified (rule 29).",
    source="ByzzFuzz 2023",
)
def old_view_votes(n: int, seed: int) -> Scenario:
    """The primary is cut off for a while: view 1 goes on among votes of view 0."""
    steps = (*work(seed, rounds=30), Isolate(at_ms=250, member=0), Mend(at_ms=1_300))
    expect = Expect(view="changed", refused=("engine message: redundant",), live_within_ms=500)
    lying = liars(backups(n, seed), lie("view-off-by-one", by=-1), "replay-old-votes")
    return staged("old-view-votes", n, seed, *lying, steps=steps, expect=expect, heal_at_ms=2_200)


@attack(
    "other-epoch-votes",
    23,
    GROUP,
    does="Backups send each vote under another epoch, rightly signed for that or not.",
    attacks="A, V",
    rule="An epoch is part of what is signed; messages of another one are dropped at the door (rule 21).",
    source="design; Cosmos' replay protection",
)
def other_epoch_votes(n: int, seed: int) -> Scenario:
    """Refused."""
    refused = ("engine message: malformed",)
    expect = Expect(view="kept", no_evidence=True, refused=refused, live_within_ms=500)
    return _voting("other-epoch-votes", n, seed, expect=expect)


@attack(
    "early-votes",
    22,
    GROUP,
    does="Backups send PREPARE and COMMIT as soon as they see a proposal, whose bodies only the primary has.",
    attacks="A",
    rule="Own PREPAREs wait for bodies, own COMMITs for the prepared state, execution for a quorum (rules 6, 30).",
    source=f"{PBFT}, 4.2",
)
def early_votes(n: int, seed: int) -> Scenario:
    """Everybody fetches the bodies, and does not go by those who claim to have them."""
    steps = tuple(
        Submit(at_ms=step.at_ms, count=step.count, client=step.client, to=(0,))
        for step in work(seed)
        if isinstance(step, Submit)
    )
    lying = liars(backups(n, seed), "early-votes")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return staged("early-votes", n, seed, *lying, steps=steps, expect=expect, tuning=PATIENT)


@attack(
    "forget-proposals",
    24,
    GROUP,
    does="The primary loses its votes in a crash, hides that from its engine, and proposes anew what it proposed.",
    attacks="A, D",
    rule="It contradicts itself: evidence, and the view is left. Whoever honestly lost a disk waits (rule 16).",
    source="Dwork, Lynch, Stockmeyer; ADR 1",
)
def forget_proposals(n: int, seed: int) -> Scenario:
    """The liar leads, and is back before anybody has waited too long for it: a real process takes its time."""
    expect = Expect(evidence=(0,), view="changed", live_within_ms=500)
    lies = lie("forget-votes", sequences=(3, 6), times=1)
    return staged("forget-proposals", n, seed, liar(0, lies), expect=expect, tuning=PATIENT)


@attack(
    "forget-votes",
    24,
    GROUP,
    does="Backups lose in a crash what they prepared, hide that from their engines, and change the view.",
    attacks="A, D",
    rule="A quorum that decided and one that changes the view share a correct member, which shows what it prepared.",
    source="Dwork, Lynch, Stockmeyer; ADR 1",
)
def forget_votes(n: int, seed: int) -> Scenario:
    """First as many honest members are cut off as a quorum can spare, so that liars' votes are needed; then,
    these being back, the primary."""
    lying = backups(n, seed)
    honest = [member for member in range(n) if member not in lying]
    spared = honest[-((n - 1) // 3) :]
    away = Partition(at_ms=150, groups=(tuple(m for m in honest if m not in spared), tuple(spared)))
    steps = (
        *work(seed, rounds=30),
        away,
        Mend(at_ms=500),
        Isolate(at_ms=500, member=0),
        Mend(at_ms=1_900),
    )
    lies = lie("forget-votes", from_ms=400, times=1)
    expect = Expect(view="changed", no_evidence=True, live_within_ms=3_000)
    return staged("forget-votes", n, seed, *liars(lying, lies), steps=steps, expect=expect, heal_at_ms=2_200)


@attack(
    "mute-towards-one",
    25,
    GROUP,
    does="Backups say nothing to one member, which another fault keeps from the other votes for a while.",
    attacks="L",
    rule="What a member lacks is sent to it again by everybody else, and it fetches it (rules 14 and 15).",
    source="Aardvark 2009",
)
def mute_towards_one(n: int, seed: int) -> Scenario:
    """The victim, the primary or the next, needs liars' votes while an honest member is away."""
    lying, victim = backups(n, seed), seed % 2
    away = next(member for member in range(2, n) if member not in lying)
    steps = (*work(seed), Isolate(at_ms=200, member=away), Mend(at_ms=500))
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    liars_ = liars(lying, lie("mute", peers=(victim,)))
    return staged("mute-towards-one", n, seed, *liars_, steps=steps, expect=expect, tuning=PATIENT)


@attack(
    "silent",
    26,
    GROUP,
    does="Backups say nothing at all from some moment on, to members and clients.",
    attacks="L",
    rule="A quorum goes on without them.",
    source=f"{PBFT}, 3",
)
def silent(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _voting("silent", n, seed, lie("mute", from_ms=100), expect=expect)


@attack(
    "crash-and-return",
    26,
    GROUP,
    does="Backups crash once, and come back with what they had stored.",
    attacks="L, D",
    rule="A quorum goes on without them; who comes back votes at once, and contradicts itself in nothing (rule 16).",
    source=f"{PBFT}, 3",
)
def crash_and_return(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _voting("crash-and-return", n, seed, lie("flap", from_ms=100, times=1, down_ms=400), expect=expect)


@attack(
    "flapping",
    26,
    GROUP,
    does="Backups crash and come back again and again.",
    attacks="L, D",
    rule="A quorum goes on without them; nobody is blamed for votes that it repeats after a restart (rule 16).",
    source=f"{PBFT}, 3",
)
def flapping(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=500)
    return _voting("flapping", n, seed, "flap", expect=expect)


@attack(
    "flapping-primary",
    26,
    GROUP,
    does="The primary crashes and comes back again and again.",
    attacks="L, D",
    rule="It proposes after a restart what it proposed before, and is blamed for nothing (rule 16).",
    source=f"{PBFT}, 3",
)
def flapping_primary(n: int, seed: int) -> Scenario:
    """The liar leads, and may or may not keep the view."""
    expect = Expect(no_evidence=True, live_within_ms=3_000)
    return staged("flapping-primary", n, seed, liar(0, "flap"), expect=expect)
