"""node.toml: what is local to one replica, read strictly, and checked against its genesis.

What lives here: the form of node.toml, and the step from it to `NodeSettings`. What must not be known here:
how these files are made (`tetrarch.setup`), sockets, stores.

Every fault is a `ConfigurationError`: one line that names the file, the key, and what is wrong with it. Paths
in the file are relative to its own directory.
"""

from pathlib import Path
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from consensus.pool import PoolLimits
from crypto.batch import Millis
from crypto.errors import KeyRefused
from crypto.keyfile import KeyFileError, Password, read_key_file
from crypto.keys import SigningKey
from crypto.roster import MAX_MEMBERS, MemberId
from crypto.tls import MAX_CERTIFICATE_BYTES, TlsError, certificate_der, fingerprint
from ledger.genesis import Genesis
from ledger.jsonfile import FileFault, read_bounded
from network.address import Address
from network.errors import AddressError
from network.tcp import ListenerLimits
from pbft import Tuning
from tetrarch.brokers import BrokerTexts, load_brokers
from tetrarch.errors import ConfigurationError
from tetrarch.genesis_file import load_genesis
from tetrarch.layout import NODE_FILE
from tetrarch.node.limits import NodeLimits
from tetrarch.node.settings import NodeSettings
from tetrarch.node.trace import CHOICE, NONE
from tetrarch.passwords import read_password
from tetrarch.toml_file import read_toml

MAX_CHECKING_PROCESSES: Final = 64
"""More processes than cores only wait for each other."""

_NEAR: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where something that listens everywhere is reached on its own machine."""

_Path = Annotated[str, Meta(min_length=1, max_length=4096)]
_AddressText = Annotated[str, Meta(min_length=3, max_length=300)]
_Name = Annotated[str, Meta(min_length=1, max_length=64)]
_Millis = Annotated[int, Meta(ge=1, le=3_600_000)]


class _Keys(Struct, frozen=True, forbid_unknown_fields=True):
    signing_key: _Path
    certificate: _Path
    private_key: _Path
    password_file: _Path | None = None


class _Listen(Struct, frozen=True, forbid_unknown_fields=True):
    peers: _AddressText
    clients: _AddressText


class _Peer(Struct, frozen=True, forbid_unknown_fields=True):
    """A member that is reached over TCP; all others are reached by way of the brokers."""

    name: _Name
    address: _AddressText
    certificate: _Path


class _TuningText(Struct, frozen=True, forbid_unknown_fields=True):
    """What may be tuned for one replica; durations in ms. Defaults are the engine's own."""

    batch_target: Annotated[int, Meta(ge=1, le=4000)] = Tuning().batch_target
    batch_delay_ms: Annotated[int, Meta(ge=0, le=10_000)] = Tuning().batch_delay_ms
    pipeline_depth: Annotated[int, Meta(ge=1, le=64)] = Tuning().pipeline_depth
    request_timeout_ms: _Millis = Tuning().request_timeout_ms
    pool: Annotated[int, Meta(ge=1, le=1_000_000)] = Tuning().pool.max_requests
    """Transactions that may wait for their execution."""
    client_share: Annotated[int, Meta(ge=1, le=1_000_000)] = NodeLimits().coming_per_connection
    """Transactions of one client's connection that may wait for the check of their signatures."""
    client_patience_ms: _Millis = ListenerLimits().stalled_ms
    """How long a client may take for a frame that it has begun, and leave unread what waits for it; for its
    handshake no longer than that either."""
    checking_processes: Annotated[int, Meta(ge=0, le=MAX_CHECKING_PROCESSES)] = 0


class _Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    listen: _AddressText


class _Trace(Struct, frozen=True, forbid_unknown_fields=True):
    transactions: Annotated[str, Meta(pattern=rf"\A({CHOICE.pattern})\Z")] = NONE
    """Which are followed through the log: none, all, or those whose ids begin with these hexadecimal
    digits."""


class _NodeText(Struct, frozen=True, forbid_unknown_fields=True):
    name: _Name
    genesis: _Path
    store: _Path
    keys: _Keys
    listen: _Listen | None = None
    """Without it: no connections over TCP, everything goes by way of the brokers."""
    brokers: BrokerTexts = []
    peers: Annotated[list[_Peer], Meta(max_length=MAX_MEMBERS)] = []
    log: _Path | None = None
    restored_from_backup: bool = False
    tuning: _TuningText = _TuningText()
    metrics: _Metrics | None = None
    trace: _Trace = _Trace()


def node_file(path: str | Path) -> Path:
    """Return the node.toml that is meant by a replica's directory, or by the file itself."""
    where = Path(path)
    return where / NODE_FILE if where.is_dir() else where


def load_node(path: str | Path, password: Password = None) -> NodeSettings:
    """Return the settings in a node.toml (or in the one of a replica's directory).

    `password` opens an encrypted signing key where the file names no `password_file`. Raises
    `ConfigurationError`: nothing is left to be found wrong later but sockets that are taken and the store.
    """
    return _Loader(node_file(path)).settings(password)


def client_address(path: str | Path) -> Address | None:
    """Return where the replica of a node.toml listens for clients, `None` where it does not. Nothing else is
    looked at, keys least of all. Raises `ConfigurationError`."""
    file = node_file(path)
    listen = read_toml(file, _NodeText).listen
    try:
        return None if listen is None else Address.parse(listen.clients)
    except AddressError as error:
        raise ConfigurationError(file, "listen.clients", str(error)) from None


class Door(NamedTuple):
    """Where the clients of one replica knock, seen from its own machine."""

    genesis: Genesis
    member: MemberId
    address: Address
    certificate: bytes
    """The certificate (DER) that it shows there."""


def load_door(path: str | Path) -> Door:
    """Return where the replica of a node.toml (or of a replica's directory) answers clients. No key is read.

    Raises `ConfigurationError`, also where it listens nowhere.
    """
    return _Loader(node_file(path)).door()


class _OverTcp(NamedTuple):
    """Where a member is reached, and the certificate (DER) that it shows there."""

    address: Address
    certificate: bytes


def load_trace(path: str | Path) -> str:
    """Return which transactions a node.toml says are to be followed. Raises `ConfigurationError`."""
    return read_toml(node_file(path), _NodeText).trace.transactions


def load_log_path(path: str | Path) -> Path | None:
    """Return where a node.toml has its log written, without opening a key. Raises `ConfigurationError`."""
    file = node_file(path)
    log = read_toml(file, _NodeText).log
    return None if log is None else file.parent / Path(log).expanduser()


class _Loader:
    """Turns one node.toml into settings, every fault named by file and key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = read_toml(path, _NodeText)
        self._genesis = load_genesis(self._beside(self._text.genesis))

    def door(self) -> Door:
        member, listen = self._member(), self._text.listen
        if listen is None:
            raise self._fault("listen", "is missing: this replica can be asked by way of its brokers alone")
        address = self._address("listen.clients", listen.clients)
        certificate = self._certificate("keys.certificate", self._text.keys.certificate, member)
        return Door(
            self._genesis, member, Address(_NEAR.get(address.host, address.host), address.port), certificate
        )

    def settings(self, password: Password) -> NodeSettings:
        text = self._text
        member = self._member()
        peers = self._peers(member)
        tuning = text.tuning
        listen = text.listen
        return NodeSettings(
            genesis=self._genesis,
            member=member,
            signer=self._signer(member, password),
            store=self._beside(text.store),
            certificate=self._beside(text.keys.certificate),
            private_key=self._beside(text.keys.private_key),
            peer_certificates=tuple(peer.certificate for peer in peers if peer is not None),
            peer_listen=None if listen is None else self._address("listen.peers", listen.peers),
            client_listen=None if listen is None else self._address("listen.clients", listen.clients),
            peers=tuple(peer and peer.address for peer in peers),
            brokers=load_brokers(self._path, text.brokers),
            tuning=Tuning(
                batch_target=tuning.batch_target,
                batch_delay_ms=Millis(tuning.batch_delay_ms),
                pipeline_depth=tuning.pipeline_depth,
                request_timeout_ms=Millis(tuning.request_timeout_ms),
                pool=PoolLimits(max_requests=tuning.pool),
            ),
            limits=NodeLimits(coming_per_connection=tuning.client_share),
            listener=ListenerLimits().with_patience(tuning.client_patience_ms),
            checking_processes=tuning.checking_processes,
            marked=text.restored_from_backup,
            log=None if text.log is None else self._beside(text.log),
            metrics=None if text.metrics is None else self._address("metrics.listen", text.metrics.listen),
            trace=text.trace.transactions,
        )

    def _fault(self, key: str, what: str) -> ConfigurationError:
        return ConfigurationError(self._path, key, what)

    def _beside(self, text: str) -> Path:
        return self._path.parent / Path(text).expanduser()

    def _address(self, key: str, text: str) -> Address:
        try:
            return Address.parse(text)
        except AddressError as error:
            raise self._fault(key, str(error)) from None

    def _member(self) -> MemberId:
        names = [member.name for member in self._genesis.members]
        if self._text.name not in names:
            raise self._fault("name", f"{self._text.name!r} is no member of the genesis: {', '.join(names)}")
        return MemberId(names.index(self._text.name))

    def _signer(self, member: MemberId, password: Password) -> SigningKey:
        keys = self._text.keys
        if keys.password_file is not None:
            password = read_password(self._beside(keys.password_file))
        path = self._beside(keys.signing_key)
        try:
            signer = SigningKey(read_key_file(path, password))
        except KeyFileError as error:
            raise ConfigurationError(error.path, "", error.what) from None
        except KeyRefused as error:
            raise ConfigurationError(path, "", str(error)) from None
        if signer.public_key != self._genesis.members[member].public_key:
            what = f"is not the key of {self._text.name!r} in the genesis"
            raise ConfigurationError(path, "public_key", what)
        return signer

    def _peers(self, member: MemberId) -> list["_OverTcp | None"]:
        """How every member is reached over TCP, by member, where it is. One's own is of this file."""
        numbers = {other.name: MemberId(number) for number, other in enumerate(self._genesis.members)}
        found: dict[MemberId, _OverTcp | None] = {member: self._own(member)}
        for place, peer in enumerate(self._text.peers):
            number = numbers.get(peer.name)
            if number is None:
                raise self._fault(f"peers[{place}].name", f"{peer.name!r} is no member of the genesis")
            if number in found:
                what = "is this replica itself" if number == member else "stands there twice"
                raise self._fault(f"peers[{place}].name", f"{peer.name!r} {what}")
            found[number] = self._peer(f"peers[{place}]", peer, number)
        missing = [name for name, number in numbers.items() if number not in found]
        if missing and not self._text.brokers:
            raise self._fault("peers", f"{', '.join(missing)} of the genesis is missing")
        return [found.get(MemberId(number)) for number in range(len(numbers))]

    def _own(self, member: MemberId) -> "_OverTcp | None":
        listen = self._text.listen
        if listen is None:
            if not self._text.brokers:
                raise self._fault(
                    "listen", "is missing, and there are no brokers: nobody could reach this replica"
                )
            return None
        certificate = self._certificate("keys.certificate", self._text.keys.certificate, member)
        return _OverTcp(self._address("listen.peers", listen.peers), certificate)

    def _peer(self, key: str, peer: _Peer, number: MemberId) -> "_OverTcp":
        if self._text.listen is None:
            raise self._fault(
                key, "is over TCP, but this replica has no [listen]: leave it out, or let it listen"
            )
        address = self._address(f"{key}.address", peer.address)
        return _OverTcp(address, self._certificate(f"{key}.certificate", peer.certificate, number))

    def _certificate(self, key: str, text: str, member: MemberId) -> bytes:
        path = self._beside(text)
        try:
            der = certificate_der(read_bounded(path, MAX_CERTIFICATE_BYTES))
        except FileFault as fault:
            raise self._fault(key, f"{path} {fault.what}") from None
        except TlsError as error:
            raise self._fault(key, f"{path}: {error}") from None
        if fingerprint(der) != self._genesis.members[member].tls_fingerprint:
            what = f"{path} is not the certificate of {self._genesis.members[member].name!r} in the genesis"
            raise self._fault(key, what)
        return der
