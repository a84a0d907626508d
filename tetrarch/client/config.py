"""client.toml: where the network is, as whom to sign, where the outbox lies.

What lives here: the file's form, reading it strictly (each error names file and key), and writing it. What
must not be known here: how connections are made.

    genesis = "genesis.json"
    key = "client.key"
    outbox = "client.outbox"          # may be left out: no memory of idempotency keys

    [replicas.replica-0]              # the member's name in the genesis
    address = "127.0.0.1:7000"
    certificate = "replica-0/client-tls.pem"

    [[brokers]]                       # for members that have no address; see `tetrarch.brokers`
    address = "127.0.0.1:8883"
    user = "client"
    password_file = "client.password"
    certificate = "certificates/broker-0.crt"

    [tuning]                          # all of it may be left out; see `tetrarch.client.tuning`
    timeout_ms = 30000

Members that do not stand under `replicas` are reached by way of the brokers. Paths are relative to the file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from crypto.errors import CryptoError
from crypto.keyfile import KeyFileError, read_key_file
from crypto.keys import Signer, SigningKey
from crypto.roster import MAX_MEMBERS, MemberId
from crypto.tls import MAX_CERTIFICATE_BYTES, certificate_der, fingerprint
from ledger.genesis import Genesis
from ledger.jsonfile import FileFault, read_bounded
from ledger.outbox import Outbox, OutboxError
from network.address import Address
from network.errors import AddressError
from network.mqtt.broker import Broker
from tetrarch.brokers import BrokerText, BrokerTexts, brokers_toml, load_brokers
from tetrarch.client.mqtt import MqttDialer, WayDialer
from tetrarch.client.tls import Endpoint, TlsDialer
from tetrarch.client.transport import Dialer
from tetrarch.client.tuning import Tuning
from tetrarch.errors import ConfigurationError
from tetrarch.toml_file import read_toml, toml_string
from tetrarch.trust import TrustRoot

_PathText = Annotated[str, Meta(min_length=1, max_length=4096)]


class ReplicaText(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one member is reached by clients, and the certificate it shows there (PEM)."""

    address: Annotated[str, Meta(min_length=1, max_length=300)]
    certificate: _PathText


class _ClientText(Struct, frozen=True, forbid_unknown_fields=True):
    genesis: _PathText
    key: _PathText
    replicas: Annotated[dict[str, ReplicaText], Meta(max_length=MAX_MEMBERS)] = {}
    brokers: BrokerTexts = []
    outbox: _PathText | UnsetType = UNSET
    tuning: Tuning = Tuning()  # frozen


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """A client.toml that was read and checked, with its genesis and its replicas' certificates."""

    path: Path
    trust: TrustRoot
    key_path: Path
    outbox_path: Path | None
    endpoints: Mapping[MemberId, Endpoint]
    """Of members that are reached over TCP."""
    brokers: tuple[Broker, ...]
    """By way of which all others are reached."""
    tuning: Tuning

    @classmethod
    def load(cls, path: str | Path) -> "ClientConfig":
        """Read a client.toml and what it names, but not the key. Raises `ConfigurationError`."""
        where = Path(path)
        text = read_toml(where, _ClientText)
        trust = TrustRoot.load(where.parent / text.genesis)
        outbox = None if text.outbox is UNSET else where.parent / text.outbox
        endpoints = _endpoints(where, text, trust)
        brokers = load_brokers(where, text.brokers)
        return cls(where, trust, where.parent / text.key, outbox, endpoints, brokers, text.tuning)

    def signer(self, password: bytes | Callable[[], bytes] | None = None) -> Signer:
        """Return the key that transactions are signed with. Raises `ConfigurationError`."""
        try:
            return SigningKey(read_key_file(self.key_path, password))
        except KeyFileError as error:
            raise ConfigurationError(error.path, "", error.what) from None

    def open_outbox(self) -> Outbox | None:
        """Open the outbox, if there is to be one. Raises `ConfigurationError`."""
        if self.outbox_path is None:
            return None
        try:
            return Outbox.open(self.outbox_path, self.trust.chain_id, self.tuning.keep_settled)
        except OutboxError as error:
            raise ConfigurationError(error.path, "", error.what) from None

    def dialer(self) -> Dialer:
        """Return what opens connections to the replicas. Raises `ConfigurationError`."""
        try:
            over_tcp = TlsDialer(self.endpoints, self.trust, self.tuning) if self.endpoints else None
        except CryptoError as error:
            raise ConfigurationError(self.path, "replicas", str(error)) from None
        if not self.brokers and over_tcp is not None:
            return over_tcp
        return WayDialer(over_tcp, self.endpoints, MqttDialer(self.brokers, self.trust, self.tuning))


def client_toml(
    genesis: str,
    key: str,
    outbox: str | None,
    replicas: Mapping[str, ReplicaText],
    brokers: Sequence[BrokerText] = (),
) -> str:
    """Return the text of a client.toml; replicas by their names in the genesis, paths relative to the
    file."""
    lines = [
        "# How a client reaches this network, and as whom it signs. Paths are relative to this file.",
        f"genesis = {toml_string(genesis)}",
        f"key = {toml_string(key)}",
    ]
    if outbox is not None:
        lines.append(f"outbox = {toml_string(outbox)}")
    for name, replica in replicas.items():
        lines += [
            "",
            f"[replicas.{toml_string(name)}]",
            f"address = {toml_string(replica.address)}",
            f"certificate = {toml_string(replica.certificate)}",
        ]
    return "\n".join(lines) + "\n" + brokers_toml(brokers)


def _endpoints(path: Path, text: _ClientText, trust: TrustRoot) -> dict[MemberId, Endpoint]:
    members = {member.name: MemberId(place) for place, member in enumerate(trust.genesis.members)}
    for name in text.replicas:
        if name not in members:
            what = f"is no member of the genesis, which has {', '.join(members)}"
            raise ConfigurationError(path, f"replicas.{name}", what)
    if not text.brokers and len(text.replicas) < trust.acceptance:
        what = f"names {len(text.replicas)}; at least {trust.acceptance} are needed to believe anything"
        raise ConfigurationError(path, "replicas", what)
    return {
        members[name]: _endpoint(path, name, replica, trust.genesis, members[name])
        for name, replica in text.replicas.items()
    }


def _endpoint(path: Path, name: str, replica: ReplicaText, genesis: Genesis, member: MemberId) -> Endpoint:
    """Return where a member is reached, after checking that its certificate is the one in the genesis."""
    try:
        address = Address.parse(replica.address)
    except AddressError as error:
        raise ConfigurationError(path, f"replicas.{name}.address", str(error)) from None
    key = f"replicas.{name}.certificate"
    try:
        der = certificate_der(read_bounded(path.parent / replica.certificate, MAX_CERTIFICATE_BYTES))
    except (FileFault, CryptoError) as error:
        raise ConfigurationError(path, key, str(error)) from None
    if fingerprint(der) != genesis.members[member].tls_fingerprint:
        what = f"{replica.certificate} is not the certificate that the genesis names for {name}"
        raise ConfigurationError(path, key, what)
    return Endpoint(address, der)
