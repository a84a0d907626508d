"""Attacks of the primary of a new view (catalogue 33 to 36, and 38)."""

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import liar, lie, staged, work
from byzantine.attacks.view_change import GROUP, PBFT, QUICK, SOON, UNCUT, left_by_liar
from byzantine.scenario import Cut, Expect, Isolate, Lie, Mend, Scenario, Tunes


def started_by_liar(name: str, n: int, seed: int, *lies: Lie | str, expect: Expect) -> Scenario:
    """Return a scenario in which member 1 lies when it starts view 1: member 0 is cut off for a while."""
    steps = (*work(seed, rounds=20), Isolate(at_ms=200, member=0), Mend(at_ms=1_000))
    return staged(
        name,
        n,
        seed,
        liar(1, *lies),
        steps=steps,
        expect=expect,
        tuning=QUICK,
        checkpoint_interval=UNCUT,
        heal_at_ms=1_500,
    )


NEXT = Expect(live_within_ms=SOON, views=(2, 2), no_evidence=True, refused=("engine message: malformed",))
NEXT_FORGED = Expect(
    live_within_ms=SOON, views=(2, 2), no_evidence=True, refused=("engine message: bad signature",)
)


@attack(
    "new-view-omits",
    33,
    GROUP,
    does="A NEW-VIEW leaves the last prepared sequence out.",
    attacks="A",
    rule="Everybody recomputes what the VIEW-CHANGEs imply, refuses anything else, and changes to the next view"
    " (rule 3).",
    source=f"{PBFT}, 4.4",
)
def new_view_omits(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("new-view-omits", n, seed, "new-view-omits", expect=NEXT)


@attack(
    "new-view-nulls",
    33,
    GROUP,
    does="A NEW-VIEW proposes a null request for the last prepared sequence.",
    attacks="A",
    rule="The same (rule 3).",
    source=f"{PBFT}, 4.4; Twins 2021",
)
def new_view_nulls(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("new-view-nulls", n, seed, "new-view-nulls", expect=NEXT)


@attack(
    "new-view-changes",
    33,
    GROUP,
    does="A NEW-VIEW proposes another batch for the last prepared sequence.",
    attacks="A",
    rule="The same (rule 3).",
    source=f"{PBFT}, 4.4",
)
def new_view_changes(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("new-view-changes", n, seed, "new-view-changes", expect=NEXT)


@attack(
    "few-changes",
    34,
    GROUP,
    does="A NEW-VIEW rests on one VIEW-CHANGE fewer than a quorum.",
    attacks="A",
    rule="A quorum of distinct members' VIEW-CHANGEs for exactly this view (rules 17 and 18).",
    source=f"{PBFT}, 4.4",
)
def few_changes(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("few-changes", n, seed, "few-changes", expect=NEXT)


@attack(
    "repeated-change",
    34,
    GROUP,
    does="A NEW-VIEW counts one member's VIEW-CHANGE twice.",
    attacks="A",
    rule="The same: distinct members are counted (rule 17).",
    source=f"{PBFT}, 4.4",
)
def repeated_change(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("repeated-change", n, seed, "repeated-change", expect=NEXT)


@attack(
    "stranger-change",
    34,
    GROUP,
    does="A NEW-VIEW rests on a VIEW-CHANGE of one who is no member.",
    attacks="A",
    rule="Signers are members of the epoch (rule 21).",
    source=f"{PBFT}, 4.4",
)
def stranger_change(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("stranger-change", n, seed, "stranger-change", expect=NEXT)


@attack(
    "outdated-change",
    34,
    GROUP,
    does="A NEW-VIEW rests on a VIEW-CHANGE that its sender said for an earlier view.",
    attacks="A",
    rule="A VIEW-CHANGE counts for the view that it names (rule 18).",
    source=f"{PBFT}, 4.4",
)
def outdated_change(n: int, seed: int) -> Scenario:
    """View 1 starts while member 0 is cut off, and is left when member 1 is; member 2 leads view 2, and lies."""
    steps = (
        *work(seed, rounds=40),
        Isolate(at_ms=150, member=0),
        Mend(at_ms=900),
        Isolate(at_ms=1_600, member=1),
    )
    return staged(
        "outdated-change",
        n,
        seed,
        liar(2, "outdated-change"),
        steps=steps,
        expect=Expect(
            live_within_ms=SOON, views=(3, 3), no_evidence=True, refused=("engine message: malformed",)
        ),
        heal_at_ms=2_600,
    )


@attack(
    "two-new-views",
    35,
    GROUP,
    does="The next primary alone knows what is prepared. It starts the view for one half of the others from a"
    " VIEW-CHANGE of its own that shows that, and for the other half from one that hides it.",
    attacks="A, F",
    rule="One vote per view and sequence: no two batches gather quorums. Those who voted otherwise are shown the"
    " other proposal, and hold evidence.",
    source="Twins 2021; ByzzFuzz 2023",
)
def two_new_views(n: int, seed: int) -> Scenario:
    """The honest are cut off from each other's votes, and hear only the liar's for a while."""
    honest = [member for member in range(n) if member != 1]
    cuts = [
        Cut(at_ms=200, source=source, target=target)
        for source in honest[1:]
        for target in honest
        if source != target
    ]
    private = (lie("withhold-votes", to_ms=800), lie("pass-on-suspicions", to_ms=800))
    return staged(
        "two-new-views",
        n,
        seed,
        liar(1, "two-new-views", *private),
        steps=(*work(seed, rounds=20), *cuts, Mend(at_ms=800)),
        expect=Expect(live_within_ms=SOON, views=(2, 2), evidence=(1,)),
        tuning=Tunes(batch_target=2, request_timeout_ms=400),
        checkpoint_interval=UNCUT,
        heal_at_ms=1_800,
    )


@attack(
    "withhold-new-view",
    36,
    GROUP,
    does="The next primary sends its NEW-VIEW to nobody.",
    attacks="L",
    rule="At a quorum of VIEW-CHANGEs a timer starts, and the view after that one follows (rule 10).",
    source=f"{PBFT}, 4.5.2",
)
def withhold_new_view(n: int, seed: int) -> Scenario:
    """View 2 starts."""
    expect = Expect(live_within_ms=SOON, views=(2, 2), no_evidence=True)
    return started_by_liar("withhold-new-view", n, seed, "withhold-new-view", expect=expect)


@attack(
    "partial-new-view",
    36,
    GROUP,
    does="The next primary sends its NEW-VIEW to one member alone.",
    attacks="L",
    rule="Whoever has a NEW-VIEW passes it on to whoever is not in that view (rule 11).",
    source=f"{PBFT}, 4.5.2",
)
def partial_new_view(n: int, seed: int) -> Scenario:
    """Member 2 has it, and passes it on, or the next view comes."""
    others = tuple(member for member in range(n) if member not in (1, 2))
    expect = Expect(live_within_ms=SOON, views=(1, 2), no_evidence=True)
    lies = lie("withhold-new-view", peers=others)
    return started_by_liar("partial-new-view", n, seed, lies, expect=expect)


@attack(
    "altered-change",
    38,
    GROUP,
    does="A NEW-VIEW alters another member's VIEW-CHANGE, so that it hides what was prepared.",
    attacks="V, A",
    rule="Nested messages are verified as they were signed, byte for byte (rule 23).",
    source=f"{PBFT}, 4.4",
)
def altered_change(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("altered-change", n, seed, "altered-change", expect=NEXT_FORGED)


@attack(
    "unsigned-proposals",
    38,
    GROUP,
    does="The proposals inside a NEW-VIEW bear no signatures.",
    attacks="V",
    rule="Every nested signature is verified (rule 23).",
    source=f"{PBFT}, 4.4",
)
def unsigned_proposals(n: int, seed: int) -> Scenario:
    """Refused; view 2 starts."""
    return started_by_liar("unsigned-proposals", n, seed, "unsigned-proposals", expect=NEXT_FORGED)


@attack(
    "reencoded-proof",
    38,
    GROUP,
    does="A certificate in a VIEW-CHANGE holds the liar's own proposal in another encoding, signed as it is.",
    attacks="V",
    rule="There is one canonical encoding; anything else is refused, however well it is signed (rule 23).",
    source="design; BIP 66",
)
def reencoded_proof(n: int, seed: int) -> Scenario:
    """Refused, and the view is left without the liar."""
    expect = Expect(
        live_within_ms=SOON, views=(1, 1), no_evidence=True, refused=("engine message: malformed",)
    )
    return left_by_liar("reencoded-proof", n, seed, "reencoded-proof", expect=expect)
