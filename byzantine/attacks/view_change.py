"""Attacks on VIEW-CHANGE (catalogue 27 to 32, and 37)."""

from random import Random

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import backup, liar, lie, staged, work
from byzantine.scenario import Cut, Expect, Isolate, Lie, Mend, Partition, Scenario, Step, Tunes

PBFT = "Castro and Liskov 1999"
GROUP = "view-change"

UNCUT = 64
"""A checkpoint interval so long that all that a run prepares stays in VIEW-CHANGEs."""

QUICK = Tunes(batch_target=2, request_timeout_ms=200)
"""Views are left soon."""

SOON = 3_000
"""A timeout or two: everybody converges so fast, in ms, since no more views fail."""


def left_by_liar(
    name: str, n: int, seed: int, *lies: Lie | str, expect: Expect, checkpoint_interval: int = UNCUT
) -> Scenario:
    """Return a scenario in which member 0 stops proposing and lies when its view is left for that.

    The last f honest members are cut off meanwhile: no quorum of VIEW-CHANGEs without the liar's. Once they are
    back the others are a quorum by themselves.
    """
    f = (n - 1) // 3
    apart = [Isolate(at_ms=200, member=member) for member in range(n - f, n)]
    steps: tuple[Step, ...] = (*work(seed, rounds=20), *apart, Mend(at_ms=1_000))
    silent = lie("no-proposals", from_ms=200)
    return staged(
        name,
        n,
        seed,
        liar(0, silent, *lies),
        steps=steps,
        expect=expect,
        tuning=QUICK,
        checkpoint_interval=checkpoint_interval,
    )


REFUSED = Expect(live_within_ms=SOON, views=(1, 1), no_evidence=True, refused=("engine message: malformed",))
FORGED = Expect(
    live_within_ms=SOON, views=(1, 1), no_evidence=True, refused=("engine message: bad signature",)
)


@attack(
    "short-proof",
    27,
    GROUP,
    does="A VIEW-CHANGE claims that a sequence is prepared, with one PREPARE too few.",
    attacks="A",
    rule="A prepared certificate is the PRE-PREPARE and a quorum less one of PREPAREs; that VIEW-CHANGE is refused,"
    " the others stand (rule 1).",
    source=f"{PBFT}, 4.4; ByzzFuzz 2023",
)
def short_proof(n: int, seed: int) -> Scenario:
    """Refused, and the view is left without the liar."""
    return left_by_liar("short-proof", n, seed, "short-proof", expect=REFUSED)


@attack(
    "unvoted-proof",
    27,
    GROUP,
    does="A VIEW-CHANGE claims that another batch was prepared for a decided sequence, with no PREPARE at all.",
    attacks="A",
    rule="Refused: its digest is the higher one, and would win over the true certificate (rule 1).",
    source=f"{PBFT}, 4.4",
)
def unvoted_proof(n: int, seed: int) -> Scenario:
    """Refused, and the view is left without the liar."""
    return left_by_liar("unvoted-proof", n, seed, "unvoted-proof", expect=REFUSED)


@attack(
    "repeated-signer",
    27,
    GROUP,
    does="A certificate in a VIEW-CHANGE counts one member's PREPARE twice.",
    attacks="A",
    rule="Distinct members are counted, in strictly ascending order (rule 17).",
    source=f"{PBFT}, 4.4",
)
def repeated_signer(n: int, seed: int) -> Scenario:
    """Refused, and the view is left without the liar."""
    return left_by_liar("repeated-signer", n, seed, "repeated-signer", expect=REFUSED)


@attack(
    "mixed-proof",
    27,
    GROUP,
    does="A certificate in a VIEW-CHANGE joins a proposal of the liar's with PREPAREs for another batch.",
    attacks="A",
    rule="PREPAREs bind view, sequence and digest; these must be the proposal's own (rule 18).",
    source=f"{PBFT}, 4.4; ByzzFuzz 2023",
)
def mixed_proof(n: int, seed: int) -> Scenario:
    """The PREPAREs verify for no other digest."""
    return left_by_liar("mixed-proof", n, seed, "mixed-proof", expect=FORGED)


@attack(
    "another-checkpoint",
    27,
    GROUP,
    does="A VIEW-CHANGE says that a later checkpoint is stable, under the certificate of an earlier one.",
    attacks="A",
    rule="A checkpoint certificate is for its height and block, and no other (rule 8).",
    source=f"{PBFT}, 4.4",
)
def another_checkpoint(n: int, seed: int) -> Scenario:
    """Refused, and the view is left without the liar. Checkpoints are close, so that one is stable by then."""
    return left_by_liar(
        "another-checkpoint", n, seed, "another-checkpoint", expect=REFUSED, checkpoint_interval=2
    )


@attack(
    "hide-prepared",
    28,
    GROUP,
    does="Members that prepared and committed what one correct member alone knows to be decided hide it in their"
    " VIEW-CHANGEs, while that one is cut off.",
    attacks="A",
    rule="Two quorums share a correct member, who shows what was prepared (rules 2 and 3).",
    source=f"{PBFT}, 4.5; Zyzzyva's view change, Abraham 2017",
)
def hide_prepared(n: int, seed: int) -> Scenario:
    """f correct members miss what is decided, then f others are cut off: one correct member that prepared it
    remains. The last f members lie: their COMMITs in its blocks contradict their VIEW-CHANGEs in the others'
    stores. Nobody leaves the view before these others are cut off."""
    f = (n - 1) // 3
    unaware = tuple(range(1, 1 + f))
    steps = (
        *work(seed, rounds=20, every_ms=40),
        Partition(at_ms=150, groups=(unaware, tuple(m for m in range(n) if m not in unaware))),
        Mend(at_ms=390),
        *(Isolate(at_ms=390, member=member) for member in (0, *range(f + 1, 2 * f))),
    )
    only = lie("commits-to-primary", from_ms=150, to_ms=400)
    liars = [liar(member, "hide-prepared", only) for member in range(n - f, n)]
    expect = Expect(live_within_ms=SOON, views=(1, 2), convicted=tuple(range(n - f, n)))
    return staged(
        "hide-prepared",
        n,
        seed,
        *liars,
        steps=steps,
        expect=expect,
        tuning=Tunes(batch_target=2, request_timeout_ms=350),
        checkpoint_interval=UNCUT,
        heal_at_ms=1_500,
    )


@attack(
    "hide-checkpoint",
    28,
    GROUP,
    does="A VIEW-CHANGE hides its sender's stable checkpoint and all that it prepared.",
    attacks="A, L",
    rule="NEW-VIEW begins at the highest certified checkpoint of a quorum (rule 3).",
    source=f"{PBFT}, 4.4",
)
def hide_checkpoint(n: int, seed: int) -> Scenario:
    """Tolerated: others show theirs."""
    expect = Expect(live_within_ms=SOON, views=(1, 1), no_evidence=True)
    return left_by_liar("hide-checkpoint", n, seed, "hide-prepared", expect=expect, checkpoint_interval=4)


@attack(
    "outdated-proof",
    29,
    GROUP,
    does="A VIEW-CHANGE carries a true certificate of view 0 for a sequence that was decided otherwise in view 1.",
    attacks="A",
    rule="Per sequence the certificate of the highest view wins (rule 3).",
    source=f"{PBFT}, 4.4; Twins 2021",
)
def outdated_proof(n: int, seed: int) -> Scenario:
    """The primary alone learns that its last proposals are prepared, since the others do not hear each other.
    They leave for view 1, where these sequences are decided otherwise; then for view 2, without view 1's
    primary."""
    alone = tuple((member,) for member in range(1, n))
    steps = (
        *work(seed, rounds=30),
        Partition(at_ms=200, groups=alone),
        Mend(at_ms=600),
        Isolate(at_ms=1_300, member=1),
    )
    liars = liar(0, "outdated-proof", lie("pass-on-suspicions", to_ms=600))
    return staged(
        "outdated-proof",
        n,
        seed,
        liars,
        steps=steps,
        expect=Expect(live_within_ms=SOON, views=(2, 4), no_evidence=True),
        tuning=QUICK,
        checkpoint_interval=UNCUT,
        heal_at_ms=2_400,
    )


@attack(
    "equivocate-view-change",
    30,
    GROUP,
    does="A member sends the next primary another VIEW-CHANGE than everybody else.",
    attacks="A, F",
    rule="What counts are the VIEW-CHANGEs inside NEW-VIEW; whoever holds another one has evidence.",
    source="design; Twins 2021",
)
def equivocate_view_change(n: int, seed: int) -> Scenario:
    """Evidence, in the same view change."""
    expect = Expect(live_within_ms=SOON, views=(1, 1), evidence=(0,))
    return left_by_liar("equivocate-view-change", n, seed, "equivocate-view-change", expect=expect)


@attack(
    "huge-view",
    31,
    GROUP,
    does="A member changes to views ever further away, and suspects these, up to 2^53 - 1, and to 2^63 - 1.",
    attacks="L, R",
    rule="Views are bounded where they are decoded; to leave takes f+1, one of them correct (rule 10).",
    source=f"{PBFT}, 4.5.2",
)
def huge_view(n: int, seed: int) -> Scenario:
    """Nobody follows."""
    expect = Expect(
        live_within_ms=SOON, view="kept", no_evidence=True, refused=("engine message: malformed",)
    )
    return staged("huge-view", n, seed, liar(backup(n, seed), "huge-view"), expect=expect)


@attack(
    "huge-view-in-change",
    31,
    GROUP,
    does="The same while a view is really being left.",
    attacks="L",
    rule="f+1 members in later views join the smallest of these, one of which a correct member is in (rule 10).",
    source=f"{PBFT}, 4.5.2",
)
def huge_view_in_change(n: int, seed: int) -> Scenario:
    """The next view starts."""
    lies = (lie("no-proposals", from_ms=150), lie("huge-view"))
    expect = Expect(
        live_within_ms=SOON, views=(1, 1), no_evidence=True, refused=("engine message: malformed",)
    )
    return staged("huge-view-in-change", n, seed, liar(0, *lies), expect=expect, tuning=QUICK)


@attack(
    "spam-changes",
    32,
    GROUP,
    does="f members suspect the present view and those after it, and change to these, fifty times a second.",
    attacks="L, R",
    rule="To leave a view takes f+1 suspicions, to join a later one f+1 VIEW-CHANGEs; the latest of each member"
    " counts (rules 10 and 29).",
    source="Aardvark 2009; Aliph 2010",
)
def spam_changes(n: int, seed: int) -> Scenario:
    """The view is kept. The last f members lie."""
    f = (n - 1) // 3
    liars = [liar(member, "spam-changes") for member in range(n - f, n)]
    expect = Expect(
        live_within_ms=SOON, view="kept", no_evidence=True, refused=("said before", "of an earlier view")
    )
    return staged("spam-changes", n, seed, *liars, expect=expect)


@attack(
    "revive-suspicions",
    32,
    GROUP,
    does="f members suspect the view for ever, and show again and again that another one suspected it, long ago.",
    attacks="L",
    rule="What f+1 members suspected may be left, then or later, so that nobody leaves alone: one view for each"
    " suspicion of a correct member, and no more (rule 29).",
    source="design; Aardvark 2009",
)
def revive_suspicions(n: int, seed: int) -> Scenario:
    """One member did not hear the others for a while. The last f members lie once that has been withdrawn; they
    could have left the view with it at the time just as well."""
    f = (n - 1) // 3
    lonely = 1 + Random(f"lonely {seed}").randrange(n - 1 - f)
    steps = (
        *work(seed, rounds=30, every_ms=150),
        *(Cut(at_ms=100, source=other, target=lonely) for other in range(n) if other != lonely),
        Mend(at_ms=900),
    )
    expect = Expect(live_within_ms=SOON, views=(1, 1), no_evidence=True)
    lies = lie("revive-suspicions", from_ms=3_500)
    lying = [liar(member, lies) for member in range(n - f, n)]
    return staged("revive-suspicions", n, seed, *lying, steps=steps, expect=expect, heal_at_ms=4_600)


@attack(
    "replay-changes",
    37,
    GROUP,
    does="A member shows again and again the SUSPECTs, VIEW-CHANGEs and NEW-VIEWs by which earlier views were left.",
    attacks="L",
    rule="Views only grow: what is said of a view that was reached means nothing more (rule 29).",
    source=f"{PBFT}, 4.4; ByzzFuzz 2023",
)
def replay_changes(n: int, seed: int) -> Scenario:
    """Views are left twice, for members that are cut off, and not again. Member 0 has the time to catch up:
    view 2 needs it for its quorum."""
    steps = (
        *work(seed, rounds=40),
        Isolate(at_ms=150, member=0),
        Mend(at_ms=900),
        Isolate(at_ms=1_600, member=1),
    )
    expect = Expect(live_within_ms=SOON, views=(2, 2), no_evidence=True, refused=("of an earlier view",))
    return staged(
        "replay-changes",
        n,
        seed,
        liar(n - 1, "replay-changes"),
        steps=steps,
        expect=expect,
        heal_at_ms=2_600,
    )
