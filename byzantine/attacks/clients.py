"""Attacks of hostile clients (catalogue 52 to 56). No member lies in any of them."""

from typing import Any

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import lie, staged
from byzantine.scenario import Expect, Lie, Scenario, Tunes

GROUP = "client"


def beset(name: str, n: int, seed: int, *lies: Lie, expect: Expect, **more: Any) -> Scenario:
    """Return a scenario with hostile clients beside the honest ones."""
    return staged(name, n, seed, hostile_clients=lies, expect=expect, **more)


@attack(
    "same-nonce",
    52,
    GROUP,
    does="A client signs two payloads with one nonce, and sends one to each half of the members, then both to all.",
    attacks="I",
    rule="An id covers the whole payload: there are two, and each is executed once at most.",
    source="design; double spending, Nakamoto 2008",
)
def same_nonce(n: int, seed: int) -> Scenario:
    """Both are ordered, in an order that all agree on."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000)
    return beset("same-nonce", n, seed, lie("same-nonce"), expect=expect)


@attack(
    "lax-signatures",
    53,
    GROUP,
    does="A client sends signatures and keys that only lax verifiers of Ed25519 accept: S not reduced, R and keys of"
    " low and of mixed order.",
    attacks="A, L",
    rule="One pinned verifier on every path, and such keys are refused when they are first seen (rule 22); a bad"
    " signature holds up no good one for the same id (rule 32).",
    source="Chalkias, Garillot, Nikolaenko 2020; Zcash's ZIP 215",
)
def lax_signatures(n: int, seed: int) -> Scenario:
    """All refuse the same ones."""
    refused = ("refused: bad_signature", "refused: bad_key")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000, refused=refused)
    return beset("lax-signatures", n, seed, lie("lax-signatures"), expect=expect, signatures="ed25519")


@attack(
    "edge-of-validity",
    54,
    GROUP,
    does="A client sends transactions that expire at once, or lie at and beyond the horizon, to all or to one member.",
    attacks="I, L",
    rule="It harms itself alone: a transaction that expires is a marker or in no block, and deposes no primary"
    " (rules 20 and 33).",
    source="design",
)
def edge_of_validity(n: int, seed: int) -> Scenario:
    """The view is kept."""
    refused = ("refused: expired", "refused: too_far")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000, refused=refused)
    return beset("edge-of-validity", n, seed, lie("edge-of-validity"), expect=expect)


@attack(
    "flood",
    55,
    GROUP,
    does="Two clients ask more than they may, send transactions under many keys with good and bad signatures, and"
    " payloads and frames that are too large.",
    attacks="R",
    rule="Questions and transactions have quotas per connection and in all; what is too large is refused before it"
    " is decoded; a frame that makes no sense ends the connection.",
    source="design; Aardvark 2009",
)
def flood(n: int, seed: int) -> Scenario:
    """The honest clients are served. Requests have time: on a busy machine such frames take some."""
    refused = (
        "client: too many questions",
        "client frame: not decodable",
        "refused: bad_signature",
        "refused: too_large",
    )
    expect = Expect(view="kept", no_evidence=True, live_within_ms=4_000, refused=refused)
    lies = lie("flood", to_ms=1_500, times=4)
    return beset("flood", n, seed, lies, lies, expect=expect, tuning=Tunes(request_timeout_ms=4_000))


@attack(
    "fill-pool",
    55,
    GROUP,
    does="A client fills the pools of all members, and its own share of what waits for its check.",
    attacks="R, L",
    rule="What does not fit is refused, and may be sent again; a full pool deposes no primary (rule 33).",
    source="design; Aardvark 2009",
)
def fill_pool(n: int, seed: int) -> Scenario:
    """Pools are small here, and the flood ends with the faults: until then honest clients may be refused too."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=6_000, refused=("refused: overloaded",))
    tuning = Tunes(batch_target=2, request_timeout_ms=400, pool=60, client_share=150)
    lies = lie("fill-pool", to_ms=1_500, times=6, count=160)
    return beset("fill-pool", n, seed, lies, expect=expect, tuning=tuning)


@attack(
    "one-member-only",
    56,
    GROUP,
    does="A client sends each transaction to one member only.",
    attacks="L",
    rule="Whoever holds a request relays it to the primary, and suspects the primary only for what was relayed"
    " (rules 12 and 33).",
    source="Castro and Liskov 1999, 4.1",
)
def one_member_only(n: int, seed: int) -> Scenario:
    """All are ordered."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=4_000)
    return beset("one-member-only", n, seed, lie("one-member-only"), expect=expect)


@attack(
    "different-to-each",
    56,
    GROUP,
    does="A client sends other transactions to each member.",
    attacks="L",
    rule="The same: bodies are relayed, and fetched where they are proposed and missing (rule 6).",
    source="Castro and Liskov 1999, 4.1",
)
def different_to_each(n: int, seed: int) -> Scenario:
    """All are ordered."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=4_000)
    return beset("different-to-each", n, seed, lie("different-to-each"), expect=expect)
