"""Attacks on what clients are told (catalogue 49 to 51)."""

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import EVERY_MS, backup, liar, staged, work
from byzantine.scenario import Expect, Read, Scenario, Step, Submit

GROUP = "replies"

READS_FROM_MS = 150
READ_EVERY_MS = 25


def answered(name: str, n: int, seed: int, refused: str | None, *members: int) -> Scenario:
    """Return a scenario in which every member is asked for results and for reads, while some of them, one backup
    if none is named, lie to clients."""
    everybody = tuple(range(n))
    steps: list[Step] = list(work(seed))
    for number in range(8):
        steps.append(Submit(at_ms=60 + 2 * EVERY_MS * number, client=number % 2, to=everybody))
    for number in range(50):
        steps.append(Read(at_ms=READS_FROM_MS + READ_EVERY_MS * number, client=number % 2))
    counted = () if refused is None else (f"client: {refused}",)
    expect = Expect(view="kept", no_evidence=True, live_within_ms=3_000, refused=counted)
    liars = [liar(member, name) for member in members or (backup(n, seed),)]
    return staged(name, n, seed, *liars, steps=tuple(steps), expect=expect)


def as_many_as_fit(n: int, seed: int) -> tuple[int, ...]:
    """Return f members: one short of what a client believes."""
    first = backup(n, seed)
    return tuple((first + more) % n for more in range((n - 1) // 3))


@attack(
    "wrong-result",
    49,
    GROUP,
    does="A member answers with wrong results under the true header and proof.",
    attacks="X",
    rule="Each result is a leaf under the attested header: the path does not verify.",
    source="Castro and Liskov 1999, 4.1; RFC 6962",
)
def wrong_result(n: int, seed: int) -> Scenario:
    """Refused; another member is asked."""
    return answered("wrong-result", n, seed, "result path")


@attack(
    "invented-result",
    49,
    GROUP,
    does="f members answer with wrong results in a block of their own, in which all fits together, and attest it.",
    attacks="X",
    rule="A header is believed once f+1 members attest it, of which one is correct.",
    source="Castro and Liskov 1999, 4.1; design",
)
def invented_result(n: int, seed: int) -> Scenario:
    """Never believed; what f+1 attest at that height shows who lied. To members they told the truth."""
    refused = "another block than f+1 attest"
    return answered("invented-result", n, seed, refused, *as_many_as_fit(n, seed))


@attack(
    "deny-execution",
    49,
    GROUP,
    does="f members say of every transaction that it is refused for good and expired, and never send its result.",
    attacks="X, L",
    rule="A refusal is final, and an expiry believed, from f+1 members only.",
    source="design",
)
def deny_execution(n: int, seed: int) -> Scenario:
    """All transactions are executed, and believed to be."""
    return answered("deny-execution", n, seed, "denies what f+1 prove", *as_many_as_fit(n, seed))


@attack(
    "stale-read",
    50,
    GROUP,
    does="f members answer reads with old values, whose proofs and attestations are true.",
    attacks="X",
    rule="A read names the height that its client has seen; an older header is no answer (rule 19).",
    source="Castro and Liskov 2002, 5.1.3; design",
)
def stale_read(n: int, seed: int) -> Scenario:
    """Refused; the next member is asked."""
    return answered("stale-read", n, seed, "height", *as_many_as_fit(n, seed))


@attack(
    "invented-read",
    50,
    GROUP,
    does="f members say that a key is absent, under a header of their own, and attest it.",
    attacks="X",
    rule="A read's header needs f+1 attestations like any other (rule 19).",
    source="design",
)
def invented_read(n: int, seed: int) -> Scenario:
    """Never believed; the next member is asked."""
    refused = "another block than f+1 attest"
    return answered("invented-read", n, seed, refused, *as_many_as_fit(n, seed))


@attack(
    "reply-for-another",
    51,
    GROUP,
    does="A member gives one transaction's result as another's.",
    attacks="X",
    rule="The path binds the id and the result together.",
    source="design; RFC 6962",
)
def reply_for_another(n: int, seed: int) -> Scenario:
    """Refused; another member is asked."""
    return answered("reply-for-another", n, seed, "result path")


@attack(
    "wrong-read",
    50,
    GROUP,
    does="A member answers reads with another value, under the true header and proof.",
    attacks="X",
    rule="The proof leads from the value to the attested state root, or the value is not believed (rule 19).",
    source="design; Merkle 1987",
)
def wrong_read(n: int, seed: int) -> Scenario:
    """Refused; the next member is asked."""
    return answered("wrong-read", n, seed, "state proof")


@attack(
    "wrong-answer",
    50,
    GROUP,
    does="f members answer the application's questions with what it never said, all alike.",
    attacks="X",
    rule="An answer is not proven: it is believed once f+1 members give it, of which one is correct (rule 19).",
    source="Castro and Liskov 1999, 4.1",
)
def wrong_answer(n: int, seed: int) -> Scenario:
    """Never believed; what f+1 say is."""
    return answered("wrong-answer", n, seed, None, *as_many_as_fit(n, seed))


@attack(
    "silent-to-readers",
    50,
    GROUP,
    does="The primary answers no reads.",
    attacks="X, L",
    rule="Any member answers: a faulty primary blocks no readers (rule 19).",
    source="design",
)
def silent_to_readers(n: int, seed: int) -> Scenario:
    """The next member is asked."""
    return answered("silent-to-readers", n, seed, None, 0)
