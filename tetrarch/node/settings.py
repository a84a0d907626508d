"""Everything that one replica is told before it starts. Where it was read from is not known here."""

from pathlib import Path

from msgspec import Struct

from crypto.keys import Signer
from crypto.roster import MemberId
from ledger.genesis import Genesis
from network.mqtt.broker import Broker
from network.tcp import Address, ListenerLimits, MeshLimits
from pbft import Tuning
from tetrarch.node.limits import NodeLimits
from tetrarch.node.trace import NONE


class NodeSettings(Struct, frozen=True):
    """One replica: who it is, where it listens, where its files lie. Checked by whoever made it."""

    genesis: Genesis
    member: MemberId
    signer: Signer
    store: Path
    """The directory of the RocksDB store; made if it is not there."""
    certificate: Path
    private_key: Path
    """The TLS identity (PEM): its fingerprint is the one in the genesis."""
    peer_certificates: tuple[bytes, ...]
    """The TLS certificates of all members that are reached over TCP (PEM or DER)."""
    peer_listen: Address | None
    """Where other members connect to; `None`: nobody does, everything goes by way of the brokers."""
    client_listen: Address | None
    """Where clients connect to."""
    peers: tuple[Address | None, ...]
    """Where each member is reached over TCP, by member; one's own is not used. `None`: by way of the
    brokers."""
    brokers: tuple[Broker, ...] = ()
    """MQTT brokers, the preferred first; needed where there is anybody without an address."""
    tuning: Tuning = Tuning()
    limits: NodeLimits = NodeLimits()
    mesh: MeshLimits = MeshLimits()
    listener: ListenerLimits = ListenerLimits()
    checking_processes: int = 0
    """Processes that verify signatures; 0: the replica itself does."""
    marked: bool = False
    """The store was restored from a backup: no votes before it is known to be safe."""
    log: Path | None = None
    """A file for JSON lines; `None`: readable lines on stderr."""
    metrics: Address | None = None
    """Where metrics and health are told, over plain HTTP; `None`: nowhere."""
    trace: str = NONE
    """Which transactions are followed through the log (`tetrarch.node.trace`)."""

    @property
    def name(self) -> str:
        """This member's name in the genesis."""
        return self.genesis.members[self.member].name
