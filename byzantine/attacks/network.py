"""Attacks of the network, on form, on signatures and on resources (catalogue 57 and 59 to 63, 68)."""

from random import Random

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import backup, liar, lie, staged, work
from byzantine.scenario import Cut, Expect, Links, Mend, Scenario, Step, Submit, Tunes

GROUP = "network"
DATAGRAMS = "Castro and Liskov 1999, 2"


@attack(
    "lossy-links",
    57,
    GROUP,
    does="Links lose 30 % of all frames.",
    attacks="L",
    rule="What matters is sent again until it is answered, or until the view is active (rule 11).",
    source=DATAGRAMS,
)
def lossy_links(n: int, seed: int) -> Scenario:
    """Slow while it lasts."""
    links = Links(low_us=200, high_us=2_000, loss=0.3)
    expect = Expect(no_evidence=True, live_within_ms=4_000, fired=("lost",))
    return staged("lossy-links", n, seed, links=links, expect=expect)


@attack(
    "repeating-links",
    57,
    GROUP,
    does="Links deliver every second frame twice.",
    attacks="A, I",
    rule="A member's vote counts once, and a transaction is executed once (rules 14 and 17).",
    source=DATAGRAMS,
)
def repeating_links(n: int, seed: int) -> Scenario:
    """No view is left for it."""
    links = Links(low_us=200, high_us=2_000, repeat=0.5)
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, fired=("repeated",))
    return staged("repeating-links", n, seed, links=links, expect=expect)


@attack(
    "reordering-links",
    57,
    GROUP,
    does="Links deliver half of all frames out of order, with delays that differ a hundredfold.",
    attacks="A, L",
    rule="Messages that come early are kept, bounded, until they are due (rule 7).",
    source=DATAGRAMS,
)
def reordering_links(n: int, seed: int) -> Scenario:
    """No view is left for it."""
    links = Links(low_us=200, high_us=20_000, reorder=0.5)
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, fired=("reordered",))
    return staged("reordering-links", n, seed, links=links, expect=expect)


@attack(
    "slow-links",
    57,
    GROUP,
    does="Links delay frames by 20 to 100 ms, some by seconds.",
    attacks="L",
    rule="Timeouts double with every failed view; whoever is late catches up (rules 10 and 15).",
    source=DATAGRAMS,
)
def slow_links(n: int, seed: int) -> Scenario:
    """Views may change."""
    links = Links(low_us=20_000, high_us=100_000, tail=0.1)
    expect = Expect(no_evidence=True, live_within_ms=6_000, fired=("delayed",))
    return staged("slow-links", n, seed, links=links, expect=expect)


@attack(
    "everything-at-once",
    57,
    GROUP,
    does="Links lose 20 % of all frames, repeat 50 %, reorder 50 %, and delay some by seconds.",
    attacks="A, I, L",
    rule="All of the above together.",
    source=DATAGRAMS,
)
def everything_at_once(n: int, seed: int) -> Scenario:
    """Views may change. It lasts long enough for each to be seen also where a fault breaks a connection."""
    links = Links(low_us=1_000, high_us=40_000, tail=0.05, loss=0.2, repeat=0.5, reorder=0.5)
    fired = ("lost", "repeated", "reordered", "delayed")
    expect = Expect(no_evidence=True, live_within_ms=6_000, fired=fired)
    steps = work(seed, rounds=30)
    return staged("everything-at-once", n, seed, links=links, steps=steps, expect=expect, heal_at_ms=2_500)


@attack(
    "one-way-cuts",
    57,
    GROUP,
    does="One direction of some links is cut, others later: f members are heard, and hear nobody, or the reverse.",
    attacks="L",
    rule="What is missing is asked for from others; certificates stand by themselves (rules 14 and 15).",
    source="Cloudflare's etcd incident, 2020",
)
def one_way_cuts(n: int, seed: int) -> Scenario:
    """f backups are deaf, then as many others dumb."""
    random, f = Random(f"one-way {seed}"), (n - 1) // 3
    chosen = random.sample(range(1, n), 2 * f)
    steps: list[Step] = list(work(seed))
    for deaf, dumb in zip(chosen[:f], chosen[f:], strict=True):
        steps += [Cut(at_ms=100, source=other, target=deaf) for other in range(n) if other != deaf]
        steps += [Cut(at_ms=701, source=dumb, target=other) for other in range(n) if other != dumb]
    steps.append(Mend(at_ms=700))
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000, fired=("cut",))
    return staged("one-way-cuts", n, seed, steps=tuple(steps), expect=expect)


@attack(
    "one-way-primary",
    57,
    GROUP,
    does="The primary is heard by all and hears nobody.",
    attacks="L",
    rule="Requests time out, and the view is changed (rule 12); the old primary catches up (rule 15).",
    source="Cloudflare's etcd incident, 2020",
)
def one_way_primary(n: int, seed: int) -> Scenario:
    """It goes on to propose until its pipeline is full, and then no more."""
    cuts = (Cut(at_ms=100, source=other, target=0) for other in range(1, n))
    expect = Expect(view="changed", no_evidence=True, live_within_ms=2_000, fired=("cut",))
    return staged("one-way-primary", n, seed, steps=(*work(seed), *cuts), expect=expect)


@attack(
    "replay-foreign-chain",
    59,
    GROUP,
    does="Beside each vote comes one that the same member signed for another digest on another chain.",
    attacks="V",
    rule="What is signed binds the chain (rule 18): such a vote does not verify, and accuses nobody.",
    source="design; Ethereum's EIP-155",
)
def replay_foreign_chain(n: int, seed: int) -> Scenario:
    """No member lies; whoever took these votes would hold all for equivocators."""
    expect = Expect(
        view="kept", no_evidence=True, live_within_ms=1_000, refused=("engine message: bad signature",)
    )
    return staged(
        "replay-foreign-chain",
        n,
        seed,
        hostile_network=(lie("replay-foreign-chain"),),
        expect=expect,
    )


@attack(
    "replay-foreign-epoch",
    59,
    GROUP,
    does="The same with votes of another epoch, some of them with this epoch's number put over them.",
    attacks="V",
    rule="An epoch has a defined fate, and is signed (rules 18 and 21).",
    source="design; BFT-SMaRt's reconfiguration",
)
def replay_foreign_epoch(n: int, seed: int) -> Scenario:
    """The number is looked at first, then the signature."""
    refused = ("engine message: bad signature", "engine message: malformed")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    return staged(
        "replay-foreign-epoch",
        n,
        seed,
        hostile_network=(lie("replay-foreign-epoch"),),
        expect=expect,
    )


@attack(
    "foreign-transactions",
    59,
    GROUP,
    does="A client sends transactions that it signed for another chain, also with this chain's name put over them.",
    attacks="V",
    rule="A transaction names its chain, and the name is signed.",
    source="design; Ethereum's EIP-155",
)
def foreign_transactions(n: int, seed: int) -> Scenario:
    """Both refused for good."""
    refused = ("refused: wrong_chain", "refused: bad_signature")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    clients = (lie("foreign-transactions"),)
    return staged("foreign-transactions", n, seed, hostile_clients=clients, expect=expect)


@attack(
    "relabel-votes",
    60,
    GROUP,
    does="A member passes PREPAREs on as COMMITs and the reverse, its own and others', under the same signatures.",
    attacks="A",
    rule="What is signed binds the kind (rule 18).",
    source="design; ByzzBench 2024",
)
def relabel_votes(n: int, seed: int) -> Scenario:
    """None of them verifies."""
    expect = Expect(
        view="kept", no_evidence=True, live_within_ms=1_000, refused=("engine message: bad signature",)
    )
    return staged("relabel-votes", n, seed, liar(backup(n, seed), "relabel-votes"), expect=expect)


@attack(
    "malleate",
    61,
    GROUP,
    does="A member passes on votes and transactions of others with the group's order added to S.",
    attacks="I, F",
    rule="S must be reduced (rule 22); ids contain no signatures, and bad bytes hold up no good ones (rule 32).",
    source="RFC 8032, 8.4; Mt. Gox 2014",
)
def malleate(n: int, seed: int) -> Scenario:
    """Refused, and nobody is accused of having signed twice."""
    refused = ("engine message: bad signature", "bodies: bad_signature")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    member = backup(n, seed)
    # What comes to the liar alone comes to all others from the liar first, and changed.
    steps = (*work(seed), *(Submit(at_ms=at_ms, to=(member,)) for at_ms in range(90, 700, 120)))
    return staged(
        "malleate", n, seed, liar(member, "malleate"), steps=steps, expect=expect, signatures="ed25519"
    )


@attack(
    "malleated-transactions",
    61,
    GROUP,
    does="A client sends each transaction under two signatures, one with the group's order added to S.",
    attacks="I",
    rule="One id, executed once; only one of the signatures verifies, on every replica alike (rule 22).",
    source="RFC 8032, 8.4; Mt. Gox 2014",
)
def malleated_transactions(n: int, seed: int) -> Scenario:
    """The other is refused for good."""
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=("refused: bad_signature",))
    clients = (lie("malleated-transactions"),)
    return staged(
        "malleated-transactions", n, seed, hostile_clients=clients, expect=expect, signatures="ed25519"
    )


@attack(
    "odd-encodings",
    62,
    GROUP,
    does="A member sends votes for another digest in forms that only lax decoders take, signed as they are.",
    attacks="V",
    rule="Decoding is strict: what is not canonical is refused, be it signed (rule 23).",
    source="design; BIP 66",
)
def odd_encodings(n: int, seed: int) -> Scenario:
    """Whoever decoded them would hold proof against the liar, and others none."""
    refused = ("engine message: malformed", "member frame: not decodable")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    return staged("odd-encodings", n, seed, liar(backup(n, seed), "odd-encodings"), expect=expect)


@attack(
    "odd-client-encodings",
    62,
    GROUP,
    does="A client signs transactions in forms that only lax decoders take, and sends frames in such forms.",
    attacks="V",
    rule="The same (rule 23); such a frame ends its connection.",
    source="design; BIP 66",
)
def odd_client_encodings(n: int, seed: int) -> Scenario:
    """Refused."""
    refused = ("refused: malformed", "client frame: not decodable")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    clients = (lie("odd-client-encodings"),)
    return staged("odd-client-encodings", n, seed, hostile_clients=clients, expect=expect)


@attack(
    "bombs",
    63,
    GROUP,
    does="A member sends frames and messages that nest without end or claim lengths that they do not have.",
    attacks="R",
    rule="Lengths are judged before anything is kept, nesting is bounded by the types, and both before signatures.",
    source="design; zip bombs",
)
def bombs(n: int, seed: int) -> Scenario:
    """Dropped and counted."""
    refused = ("engine message: malformed", "member frame: not decodable")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    return staged("bombs", n, seed, liar(backup(n, seed), lie("bombs", times=5)), expect=expect)


@attack(
    "client-bombs",
    63,
    GROUP,
    does="A client does the same.",
    attacks="R",
    rule="The same; each ends its connection.",
    source="design; zip bombs",
)
def client_bombs(n: int, seed: int) -> Scenario:
    """Dropped and counted."""
    expect = Expect(
        view="kept", no_evidence=True, live_within_ms=1_000, refused=("client frame: not decodable",)
    )
    clients = (lie("client-bombs", times=5),)
    return staged("client-bombs", n, seed, hostile_clients=clients, expect=expect)


@attack(
    "bad-signature-flood",
    63,
    GROUP,
    does="A member floods another with votes under bad signatures, in its own name and in others'.",
    attacks="R, L",
    rule="Each member has a lane of its own, bounded; a turn takes so many of each, and drops none of another's.",
    source="Aardvark 2009",
)
def bad_signature_flood(n: int, seed: int) -> Scenario:
    """Two floods: what does not fit is dropped, what fits is refused, and nobody is blamed for what others said
    in its name."""
    refused = ("engine message: bad signature", "engine message: too many of one member")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=1_000, refused=refused)
    lies = lie("bad-signature-flood", times=2)
    return staged("bad-signature-flood", n, seed, liar(backup(n, seed), lies), expect=expect)


@attack(
    "slow-reader",
    63,
    GROUP,
    does="A client asks for whole blocks again and again, or now and then, and never reads what is answered.",
    attacks="R, L",
    rule="What waits for one client is bounded in bytes, and in time: then its connection ends.",
    source="design; Slow Read, 2012",
)
def slow_reader(n: int, seed: int) -> Scenario:
    """Who asks for much is ended for what waits, who asks for less for how long it waits."""
    refused = ("client connection: backlog_full", "client connection: reader_slow")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000, refused=refused)
    return _patiently("slow-reader", n, seed, expect, heal_at_ms=4_000)


@attack(
    "half-open",
    63,
    GROUP,
    does="A client leaves connections half open: before TLS, in the middle of its handshake, or after it with half"
    " a frame.",
    attacks="R, L",
    rule="A handshake, and a frame that has begun, have their time; so many handshakes may be under way.",
    source="design; Slowloris, 2009",
)
def half_open(n: int, seed: int) -> Scenario:
    """All are ended, and opened again."""
    refused = ("client connection: handshake_slow", "client connection: frame_slow")
    expect = Expect(view="kept", no_evidence=True, live_within_ms=2_000, refused=refused)
    return _patiently("half-open", n, seed, expect, heal_at_ms=2_500)


def _patiently(name: str, n: int, seed: int, expect: Expect, heal_at_ms: int) -> Scenario:
    """Honest clients are at work for as long as it lasts. Members wait for clients a second, not twenty."""
    tuning = Tunes(batch_target=2, request_timeout_ms=400, client_patience_ms=1_000)
    steps = work(seed, rounds=heal_at_ms // 60 - 1)
    return staged(
        name,
        n,
        seed,
        steps=steps,
        hostile_clients=(lie(name),),
        expect=expect,
        tuning=tuning,
        heal_at_ms=heal_at_ms,
    )


@attack(
    "lying-broker",
    68,
    GROUP,
    does="All frames between members pass through a broker that drops, repeats, reorders, delays, changes, replays"
    " and misattributes a quarter of them, and goes on with it.",
    attacks="A, V, L",
    rule="Signatures are the members' own: a broker can only delay.",
    source="MQTT; Dolev and Yao 1983",
)
def lying_broker(n: int, seed: int) -> Scenario:
    """Nobody is accused."""
    refused = ("engine message: bad signature",)
    expect = Expect(no_evidence=True, live_within_ms=6_000, refused=refused)
    return staged("lying-broker", n, seed, hostile_network=(lie("lying-broker"),), expect=expect)
