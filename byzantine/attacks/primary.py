"""Attacks of a primary (catalogue 1 to 16)."""

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import liar, lie, staged, work
from byzantine.scenario import Expect, Mend, Partition, Scenario, Tunes

PBFT = "Castro and Liskov 1999"
GROUP = "primary"


@attack(
    "equivocate",
    1,
    GROUP,
    does="The primary signs two different batches for one view and sequence, and shows them to disjoint halves.",
    attacks="A",
    rule="The first proposal counts; those who voted for the other are sent it, so that both are kept as evidence;"
    " the primary is suspected at once.",
    source=f"{PBFT}, 4.2; ByzzFuzz 2023",
)
def equivocate(n: int, seed: int) -> Scenario:
    """Evidence is held against the primary, and the view is left."""
    expect = Expect(evidence=(0,), view="changed")
    return staged("equivocate", n, seed, liar(0, lie("equivocate", sequences=(3, 6))), expect=expect)


@attack(
    "equivocate-with-votes",
    2,
    GROUP,
    does="The same across a partition, each side also gets the primary's PREPARE and COMMIT for its own batch.",
    attacks="A",
    rule="Two quorums share a correct member: one side at most decides, and the other catches up by certificates.",
    source=f"{PBFT}, 4.2; Twins 2021",
)
def equivocate_with_votes(n: int, seed: int) -> Scenario:
    """The network is split among the honest as the lie is; the liar talks to both sides."""
    honest = list(range(1, n))
    half = len(honest) // 2
    groups = (tuple(honest[:half]), tuple(honest[half:]))
    steps = (*work(seed), Partition(at_ms=150, groups=groups), Mend(at_ms=900))
    liars = liar(0, lie("equivocate-with-votes", from_ms=150))
    return staged("equivocate-with-votes", n, seed, liars, steps=steps, expect=Expect())


@attack(
    "primary-prepares",
    3,
    GROUP,
    does="The primary sends a PREPARE for its own proposal.",
    attacks="A",
    rule="Its PRE-PREPARE stands for it: the PREPARE never counts (rule 25).",
    source=f"{PBFT}, 4.2",
)
def primary_prepares(n: int, seed: int) -> Scenario:
    """Nothing comes of it."""
    refused = ("a PREPARE by the primary, which never counts",)
    expect = Expect(view="kept", no_evidence=True, refused=refused)
    return staged("primary-prepares", n, seed, liar(0, "primary-prepares"), expect=expect)


@attack(
    "wrong-digest",
    4,
    GROUP,
    does="The primary proposes a digest that is not that of the batch.",
    attacks="V",
    rule="The digest is recomputed at the door, and the proposal refused; timers change the view (rule 23).",
    source=f"{PBFT}, 4.2",
)
def wrong_digest(n: int, seed: int) -> Scenario:
    """Refused, and the view is left."""
    expect = Expect(view="changed", refused=("engine message: malformed",))
    return staged("wrong-digest", n, seed, liar(0, lie("wrong-digest", sequences=(3, 9_999))), expect=expect)


@attack(
    "forged-transaction",
    5,
    GROUP,
    does="The primary proposes a transaction under a client's signature for another one, and offers its body.",
    attacks="V",
    rule="Every body's signature is checked, and nobody prepares without the body (rule 6).",
    source="design; ByzzBench 2024",
)
def forged_transaction(n: int, seed: int) -> Scenario:
    """Nobody prepares it."""
    lies = lie("forged-transaction", sequences=(3, 9_999))
    return staged("forged-transaction", n, seed, liar(0, lies), expect=Expect(view="changed"))


@attack(
    "swapped-signatures",
    5,
    GROUP,
    does="The primary offers bodies whose signatures are swapped between transactions.",
    attacks="V",
    rule="An id binds no signature, so each is checked over its own bytes, and refused for these alone (rule 32).",
    source="design",
)
def swapped_signatures(n: int, seed: int) -> Scenario:
    """The right bodies are not refused for the wrong ones."""
    expect = Expect(view="kept", no_evidence=True)
    return staged("swapped-signatures", n, seed, liar(0, "swapped-signatures"), expect=expect)


@attack(
    "withhold-body",
    6,
    GROUP,
    does="The primary proposes an id whose body nobody gets.",
    attacks="L",
    rule="No PREPARE without every body; it is asked for from everybody, then timers change the view (rule 6).",
    source=f"{PBFT}, 4.2; Aardvark 2009",
)
def withhold_body(n: int, seed: int) -> Scenario:
    """The view is left."""
    lies = lie("withhold-body", sequences=(3, 9_999))
    return staged("withhold-body", n, seed, liar(0, lies), expect=Expect(view="changed"))


@attack(
    "exclude",
    7,
    GROUP,
    does="The primary talks to all but f correct backups, and goes on with the others.",
    attacks="L, X",
    rule="Whoever is left out hears the others' votes, fetches what they are about, and catches up by"
    " certificates (rules 14 and 15).",
    source="Aardvark 2009; Fabric's smartbft",
)
def exclude(n: int, seed: int) -> Scenario:
    """Everybody converges all the same."""
    return staged("exclude", n, seed, liar(0, "exclude"))


@attack(
    "censor",
    8,
    GROUP,
    does="The primary hides one client's transactions from its own engine.",
    attacks="L",
    rule="Clients send to all; backups relay, run a timer for what they relayed, and change the view (rule 33).",
    source="Prime 2011; Aardvark 2009",
)
def censor(n: int, seed: int) -> Scenario:
    """The view is left for the victim's sake."""
    return staged("censor", n, seed, liar(0, "censor"), expect=Expect(view="changed"))


@attack(
    "skip-sequence",
    9,
    GROUP,
    does="The primary leaves a sequence out for good.",
    attacks="L",
    rule="Execution waits for it; the view change fills the hole with a null request (rules 3 and 4).",
    source=f"{PBFT}, 4.4",
)
def skip_sequence(n: int, seed: int) -> Scenario:
    """The view is left."""
    lies = lie("skip-sequence", sequences=(4, 9_999))
    return staged("skip-sequence", n, seed, liar(0, lies), expect=Expect(view="changed"))


@attack(
    "beyond-watermarks",
    10,
    GROUP,
    does="The primary proposes sequences just above the high watermark, and far above.",
    attacks="R",
    rule="Just above is kept, bounded; far above is dropped and counted (rule 7).",
    source=f"{PBFT}, 4.3",
)
def beyond_watermarks(n: int, seed: int) -> Scenario:
    """What is far above is dropped. What is just above contradicts what it proposes there later."""
    expect = Expect(refused=("too far above the high watermark",))
    return staged("beyond-watermarks", n, seed, liar(0, "beyond-watermarks"), expect=expect)


@attack(
    "order-again",
    11,
    GROUP,
    does="The primary puts executed transactions into later batches.",
    attacks="I",
    rule="An id is executed once: later blocks hold a marker that names the first height.",
    source="design; Bitcoin's BIP 30",
)
def order_again(n: int, seed: int) -> Scenario:
    """Tolerated."""
    expect = Expect(no_evidence=True)
    return staged("order-again", n, seed, liar(0, "order-again"), expect=expect)


@attack(
    "order-too-long-valid",
    12,
    GROUP,
    does="The primary dates a batch back, so that transactions in it are valid for longer than the horizon.",
    attacks="V",
    rule="Nobody prepares an id with valid_until beyond timestamp + horizon; the view is changed.",
    source="design",
)
def order_too_long_valid(n: int, seed: int) -> Scenario:
    """A client's transactions are valid up to the horizon; nine seconds back lie within the clock bound."""
    lies = lie("order-too-long-valid", sequences=(3, 9_999), back_ms=9_000)
    return staged(
        "order-too-long-valid",
        n,
        seed,
        liar(0, lies),
        hostile_clients=(lie("edge-of-validity"),),
        expect=Expect(view="changed"),
    )


@attack(
    "time-goes-back",
    13,
    GROUP,
    does="The primary proposes timestamps that go back, within the clock bound.",
    attacks="V",
    rule="Block time is computed at execution, and only grows (rule 27).",
    source="design; Tendermint's BFT time",
)
def time_goes_back(n: int, seed: int) -> Scenario:
    """Tolerated: the blocks' times still grow."""
    lies = lie("order-too-long-valid", back_ms=9_000, probability=0.5)
    expect = Expect(no_evidence=False)
    return staged("time-goes-back", n, seed, liar(0, lies), expect=expect)


@attack(
    "wrong-time",
    13,
    GROUP,
    does="The primary proposes a timestamp an hour ahead.",
    attacks="V",
    rule="Outside the clock bound nobody prepares; the view is changed (rule 27).",
    source="design; Tendermint's BFT time",
)
def wrong_time(n: int, seed: int) -> Scenario:
    """Refused, and the view is left."""
    expect = Expect(view="changed", refused=("its timestamp lies outside the clock bound",))
    return staged("wrong-time", n, seed, liar(0, lie("wrong-time", sequences=(3, 9_999))), expect=expect)


@attack(
    "slow-proposals",
    14,
    GROUP,
    does="The primary keeps each proposal back for just less than the timeout.",
    attacks="L",
    rule="Tolerated: it costs time, and no view; what one waits for is bounded by the timeout.",
    source="Aardvark 2009; Prime 2011",
)
def slow_proposals(n: int, seed: int) -> Scenario:
    """Everything is ordered, slowly."""
    lies = lie("slow-proposals", delay_ms=250)
    return staged("slow-proposals", n, seed, liar(0, lies), expect=Expect(no_evidence=True))


@attack(
    "no-proposals",
    15,
    GROUP,
    does="The primary says everything but proposals.",
    attacks="L",
    rule="Request timers change the view (rule 12).",
    source=f"{PBFT}, 4.4",
)
def no_proposals(n: int, seed: int) -> Scenario:
    """The view is left."""
    expect = Expect(view="changed", no_evidence=True)
    return staged("no-proposals", n, seed, liar(0, lie("no-proposals", from_ms=100)), expect=expect)


@attack(
    "empty-batches",
    16,
    GROUP,
    does="The primary orders empty batches while transactions wait.",
    attacks="L",
    rule="A request that is passed over makes its primary suspected, whatever else is ordered (rule 33).",
    source="Prime 2011",
)
def empty_batches(n: int, seed: int) -> Scenario:
    """The view is left."""
    expect = Expect(view="changed")
    lies = lie("empty-batches", from_ms=100)
    return staged(
        "empty-batches", n, seed, liar(0, lies), expect=expect, tuning=Tunes(request_timeout_ms=400)
    )
