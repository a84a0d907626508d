"""Scenarios: a network, who lies and how, what is done to it in time, the work, and what must come of it.
Data.

What lives here: the shapes, and the checks by which a scenario that contradicts itself is refused. What must
not be known here: runners, behaviours' code, files (`scenario_file`).

One scenario runs on every runner. Time is counted in ms from the start. Until `heal_at_ms` faults happen;
then links are whole, every replica runs, and convergence is demanded within `expect.live_within_ms`, while
liars go on lying.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from byzantine.workload import WORKED

FORMAT = 1

Count = Annotated[int, Meta(ge=0, le=10_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=10_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[a-z0-9][a-z0-9_-]*\Z")]
Member = Annotated[int, Meta(ge=0, le=255)]


class _Step(
    Struct, frozen=True, kw_only=True, tag_field="do", forbid_unknown_fields=True, omit_defaults=True
):
    at_ms: Milliseconds = 0
    """When it is done."""


class Submit(_Step, frozen=True, tag="submit"):
    """A client sends so many new operations at once: to all members, or to some."""

    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    client: Annotated[int, Meta(ge=0, le=63)] = 0
    to: tuple[Member, ...] | None = None


class Read(_Step, frozen=True, tag="read"):
    """A client reads a key from one replica, the proof verified."""

    client: Annotated[int, Meta(ge=0, le=63)] = 0


class Crash(_Step, frozen=True, tag="crash"):
    """A replica's process ends at once. Of what was not synced, the first `surviving` writes had reached the
    disk."""

    member: Member
    surviving: Count = 0


class Restart(_Step, frozen=True, tag="restart"):
    """A replica that is down starts again."""

    member: Member


class PowerCut(_Step, frozen=True, tag="power-cut"):
    """All replicas crash at once, and start again."""

    surviving: Count = 0


class Partition(_Step, frozen=True, tag="partition"):
    """Nothing passes between members of different groups; clients reach everybody. The twins of members that
    have one are numbered on, from the number of replicas, in the order of their members."""

    groups: tuple[tuple[Member, ...], ...]


class Cut(_Step, frozen=True, tag="cut"):
    """Nothing passes from one member to another; the other direction is another link."""

    source: Member
    target: Member


class Isolate(_Step, frozen=True, tag="isolate"):
    """A member hears from no other and is heard by none."""

    member: Member


class Mend(_Step, frozen=True, tag="mend"):
    """All links carry again."""


class Links(_Step, frozen=True, tag="links"):
    """From now on links treat frames so. Delays in us, uniform, doubled again and again with probability
    `tail`."""

    low_us: Annotated[int, Meta(ge=0, le=10_000_000)] = 200
    high_us: Annotated[int, Meta(ge=0, le=10_000_000)] = 2_000
    tail: Share = 0.0
    loss: Share = 0.0
    repeat: Share = 0.0
    reorder: Share = 0.0


class Clock(_Step, frozen=True, tag="clock"):
    """A member's wall clock jumps."""

    member: Member
    by_ms: Annotated[int, Meta(ge=-100_000_000, le=100_000_000)]


class Disk(_Step, frozen=True, tag="disk"):
    """A member's disk goes wrong: `full` (and `free` again), `flip` turns one stored bit over, `lose` empties
    it, `old` puts back what it held at the last `keep`. After flip, lose and old the replica starts marked,
    as its operator is told to."""

    member: Member
    what: Literal["full", "free", "flip", "lose", "keep", "old"]


Step: TypeAlias = (
    Submit | Read | Crash | Restart | PowerCut | Partition | Cut | Isolate | Mend | Links | Clock | Disk
)


class Lie(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One behaviour, and when it is allowed to fire: every condition that is given must hold."""

    behaviour: Name
    from_ms: Milliseconds = 0
    to_ms: Milliseconds | None = None
    views: tuple[int, int] | None = None
    """First and last view."""
    sequences: tuple[int, int] | None = None
    """First and last sequence."""
    peers: tuple[Member, ...] | None = None
    """Towards whom."""
    probability: Share = 1.0
    times: Annotated[int, Meta(ge=1)] | None = None
    """How often at most; 1: once."""
    parameters: dict[str, int | float | str | bool] = {}


class Liar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member that lies."""

    member: Member
    lies: Annotated[tuple[Lie, ...], Meta(min_length=1)]


LINKS_DO = ("lost", "repeated", "reordered", "delayed", "cut")
"""What links do to frames: counted beside behaviours, under these names."""


class Expect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a correct network must show. Safety is always expected, unless more than f lie."""

    safe: bool = True
    """False: agreement may break, and whoever broke it must be named."""
    live_within_ms: Annotated[int, Meta(ge=1, le=100_000_000)] | None = 60_000
    """Convergence so long after healing; `None`: not expected."""
    view: Literal["any", "kept", "changed"] = "any"
    """Whether honest replicas stay in view 0 or leave it."""
    views: tuple[Count, Count] | None = None
    """Between which two views the highest one lies that an honest replica was in."""
    evidence: tuple[Member, ...] = ()
    """Honest replicas hold evidence against these."""
    convicted: tuple[Member, ...] = ()
    """The stores of all honest replicas together convict these, be it that no single one saw it."""
    no_evidence: bool = False
    """Nobody is accused, liars neither: what they do cannot be proven."""
    halted: tuple[Member, ...] = ()
    """Liars that find out by themselves that something is wrong with them, halt, and say so."""
    refused: tuple[str, ...] = ()
    """Reasons that honest replicas (or clients) count for what they drop: each at least once somewhere."""
    level: bool = False
    """Whether all honest replicas stand at one block when faults end, before there is new work."""
    fired: tuple[Name, ...] | None = None
    """Behaviours that must have fired, at whomever, or what links must have done (`LINKS_DO`). `None`: all of
    them, at each liar and hostile client that has them."""


class Tunes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Local choices of all replicas, in ms where times."""

    batch_target: Annotated[int, Meta(ge=1, le=1000)] = 2
    batch_delay_ms: Milliseconds = 5
    pipeline_depth: Annotated[int, Meta(ge=1, le=16)] = 3
    request_timeout_ms: Annotated[int, Meta(ge=10, le=100_000)] = 1000
    pool: Annotated[int, Meta(ge=1, le=100_000)] = 20_000
    """Requests that may wait for their execution."""
    client_share: Annotated[int, Meta(ge=1, le=100_000)] = 8_000
    """Transactions of one client that may wait for their check."""
    client_patience_ms: Annotated[int, Meta(ge=1, le=100_000)] = 20_000
    """How long a client may take for a frame that it has begun, and leave answers unread."""


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One run, whole: with the same commit, the same events follow."""

    name: Name
    replicas: Annotated[int, Meta(ge=4, le=64)] = 4
    seed: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    signatures: Literal["stand-in", "ed25519"] = "stand-in"
    application: str = "kv"
    parameters: dict[str, str] = {}
    """The application's own."""
    checkpoint_interval: Annotated[int, Meta(ge=1, le=1024)] = 8
    largest_batch: Annotated[int, Meta(ge=1, le=1000)] = 1000
    """Transactions in a block at most: few make many blocks of little work."""
    clients: Annotated[int, Meta(ge=0, le=64)] = 2
    links: Links = Links()
    tuning: Tunes = Tunes()
    steps: tuple[Step, ...] = ()
    liars: tuple[Liar, ...] = ()
    hostile_clients: tuple[Lie, ...] = ()
    hostile_network: tuple[Lie, ...] = ()
    heal_at_ms: Milliseconds = 3_000
    expect: Expect = Expect()

    @property
    def f(self) -> int:
        """How many liars the network is made to bear."""
        return (self.replicas - 1) // 3

    @property
    def lying_members(self) -> tuple[int, ...]:
        """The members that lie, ascending."""
        return tuple(sorted(liar.member for liar in self.liars))

    @property
    def twins(self) -> int:
        """How many members run twice."""
        return sum(any(lie.behaviour == "twin" for lie in liar.lies) for liar in self.liars)

    @property
    def events(self) -> int:
        """How many steps and lies it is made of: what shrinking makes fewer."""
        lies = sum(len(liar.lies) for liar in self.liars)
        return len(self.steps) + lies + len(self.hostile_clients) + len(self.hostile_network)


class Contradiction(ValueError):
    """A scenario that cannot be: which field, and why. One line."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


def require_consistent(scenario: Scenario) -> None:
    """Raise `Contradiction` where a scenario contradicts itself."""
    _require_members(scenario)
    _require_links(scenario.links, "links")
    for number, step in enumerate(scenario.steps):
        _require_step(scenario, step, f"steps[{number}]")
    members, f = scenario.lying_members, scenario.f
    if len(set(members)) != len(members):
        raise Contradiction("liars", "a member is listed twice: put all its lies into one entry")
    lying = f"{len(members)} of {scenario.replicas} members lie"
    if len(members) > f and scenario.expect.safe:
        why = f"{lying}, more than f = {f}, which no network is promised to bear: state safe = false"
        raise Contradiction("expect.safe", why)
    if len(members) <= f and not scenario.expect.safe:
        raise Contradiction("expect.safe", f"{lying}, no more than f = {f}: safety is promised")
    _require_expected(scenario)
    _require_lies(scenario)


def _require_step(scenario: Scenario, step: Step, field: str) -> None:
    if step.at_ms > scenario.heal_at_ms:
        raise Contradiction(
            f"{field}.at_ms",
            f"{step.at_ms} lies after heal_at_ms ({scenario.heal_at_ms}), when all faults end",
        )
    if isinstance(step, Submit | Read) and step.client >= scenario.clients:
        there = f"{scenario.clients} clients are numbered from 0" if scenario.clients else "there are none"
        raise Contradiction(f"{field}.client", f"client {step.client} does not exist: {there}")
    if isinstance(step, Links):
        _require_links(step, field)
    if isinstance(step, Partition):
        seats = [seat for group in step.groups for seat in group]
        twice = next((seat for seat in seats if seats.count(seat) > 1), None)
        if twice is not None:
            raise Contradiction(f"{field}.groups", f"{twice} is named twice")


def _require_links(links: Links, field: str) -> None:
    if links.low_us > links.high_us:
        raise Contradiction(f"{field}.low_us", f"{links.low_us} is above high_us ({links.high_us})")


def _require_expected(scenario: Scenario) -> None:
    expect, liars = scenario.expect, scenario.lying_members
    for field in ("evidence", "convicted", "halted"):
        accused = getattr(expect, field)
        for member in accused:
            _require_member(scenario, f"expect.{field}", member)
            if member not in liars:
                raise Contradiction(f"expect.{field}", f"member {member} does not lie in this scenario")
        if expect.no_evidence and accused and field != "halted":
            raise Contradiction("expect.no_evidence", f"contradicts expect.{field}")
    if expect.views is None:
        return
    least, most = expect.views
    if least > most:
        raise Contradiction("expect.views", f"{least} is above {most}")
    if (expect.view == "kept" and least > 0) or (expect.view == "changed" and most == 0):
        raise Contradiction("expect.views", f"{least} to {most} contradicts view = {expect.view!r}")


def require_work(scenario: Scenario) -> None:
    """Raise `Contradiction` where the scenario's own clients have no work for its application, or liveness is
    expected and there are none."""
    if scenario.clients and scenario.application not in WORKED:
        why = f"a scenario's clients have work for kv alone, not for {scenario.application!r}"
        raise Contradiction("application", f"{why}: test it by the pytest plugin (docs/testing.md)")
    if not scenario.clients and scenario.expect.live_within_ms is not None:
        raise Contradiction("clients", "there is nobody by whose work it could be seen that anything goes on")


def _require_members(scenario: Scenario) -> None:
    for number, step in enumerate(scenario.steps):
        for field in ("member", "source", "target"):
            _require_member(scenario, f"steps[{number}].{field}", getattr(step, field, None))
        for member in getattr(step, "to", None) or ():
            _require_member(scenario, f"steps[{number}].to", member)
        for group in getattr(step, "groups", ()):
            for seat in group:
                if seat >= scenario.replicas + scenario.twins:
                    why = f"{seat} is neither a member nor a twin: {_members(scenario)}"
                    raise Contradiction(f"steps[{number}].groups", why)
    for number, liar in enumerate(scenario.liars):
        _require_member(scenario, f"liars[{number}].member", liar.member)


def _require_member(scenario: Scenario, field: str, member: int | None) -> None:
    if member is not None and member >= scenario.replicas:
        raise Contradiction(field, f"member {member} does not exist: {_members(scenario)}")


def _members(scenario: Scenario) -> str:
    return f"a network of {scenario.replicas} has members 0 to {scenario.replicas - 1}"


def _require_lies(scenario: Scenario) -> None:
    lies = [lie for liar in scenario.liars for lie in liar.lies]
    named = set(LINKS_DO)
    for lie in (*lies, *scenario.hostile_clients, *scenario.hostile_network):
        named.add(lie.behaviour)
        for peer in lie.peers or ():
            _require_member(scenario, f"{lie.behaviour}.peers", peer)
        if lie.to_ms is not None and lie.to_ms < lie.from_ms:
            raise Contradiction(f"{lie.behaviour}.to_ms", f"{lie.to_ms} is before from_ms ({lie.from_ms})")
        for field in ("views", "sequences"):
            bounds = getattr(lie, field)
            if bounds is not None and bounds[0] > bounds[1]:
                raise Contradiction(f"{lie.behaviour}.{field}", f"{bounds[0]} is above {bounds[1]}")
    for name in scenario.expect.fired or ():
        if name not in named:
            raise Contradiction("expect.fired", f"{name!r} is no behaviour of this scenario")
