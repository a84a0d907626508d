"""Joining one replica's parts: engine, ledger, application, and what watches them.

What lives here: which object gets which. What must not be known here: sockets, clocks, the event loop.
"""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.contract import Engine
from crypto.keys import InlineChecker
from ledger.application import Application, load_application
from ledger.keyvalue import KeyValue
from ledger.ledger import Ledger
from tetrarch.engines import ordering
from tetrarch.node.gateway import Identity
from tetrarch.node.heart import Heart
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import OpenNetwork
from tetrarch.node.transports import open_network
from tetrarch.node.watched import WatchedEngine
from tetrarch.node.watching import Watch


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands around a node's parts, or in their place: for tests of misbehaviour. Nothing by default."""

    engine: Callable[[Engine], Engine] = lambda engine: engine
    application: Callable[[Application], Application] = lambda application: application
    network: OpenNetwork = open_network


HONEST = Parts()


def compose(
    settings: NodeSettings, disk: KeyValue, around: Parts = HONEST, watch: Watch | None = None
) -> Heart:
    """Join engine, ledger and application of one genesis into a heart, and have `watch` see it.

    Raises `StoreError` for a store of another chain or a corrupt one, `UnusableGenesis`, `ApplicationError`.
    """
    genesis = settings.genesis
    roster = genesis.roster()
    parts = ordering(genesis, roster)
    application = load_application(genesis.application, dict(genesis.parameters))
    engine = around.engine(parts.make(settings.member, settings.signer, settings.tuning, settings.marked))
    trace = None
    if watch is not None:
        trace = watch.trace
        engine = WatchedEngine(engine, parts.milestones, watch.times, trace)
    return Heart(
        genesis,
        Identity(roster, settings.member, settings.signer),
        engine,
        parts.door,
        parts.verifier,
        Ledger.open(genesis, around.application(application), disk),
        InlineChecker(),
        settings.limits,
        deferred=settings.checking_processes > 0,
        trace=trace,
    )
