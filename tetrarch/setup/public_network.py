"""DIR/public: what all parties are told of a network, and hold against what they know themselves.

What lives here: its form, and its checks. What must not be known here: anybody's secrets.

    genesis.json             members by key and certificate; its digest is the chain id
    network.json             every member's public part, signed by itself; where the brokers are
    certificates/NAME.crt    of members and of brokers; certificates/broker-N.pem: of brokers' authorities

Members' places are signed by themselves, and their keys stand in the genesis. What the chain id does not
cover are the brokers, which are not believed anyway, but are sent passwords: a second digest covers these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from crypto.codec import encode
from crypto.digest import Digest, digest
from crypto.errors import CryptoError
from crypto.roster import MAX_MEMBERS
from crypto.tls import MAX_CERTIFICATE_BYTES, certificate_der, client_context_authority
from ledger.genesis import Genesis
from ledger.jsonfile import FileFault, parse_json, read_bounded, write_json
from network.mqtt.broker import MAX_BROKERS
from tetrarch.errors import ConfigurationError
from tetrarch.genesis_file import load_genesis
from tetrarch.layout import CERTIFICATES, GENESIS_FILE, NETWORK_FILE
from tetrarch.setup.places import BrokerHost, HostName, Places, Port, contradictions
from tetrarch.setup.plan import NetworkPlan
from tetrarch.setup.public_part import MAX_PART_BYTES, PublicPart, check_part
from tetrarch.setup.texts import broker_certificate

FORMAT: Final = "tetrarch-network-1"
MAX_NETWORK_BYTES: Final = MAX_MEMBERS * MAX_PART_BYTES


class BrokerPlace(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a broker is, and whether an authority vouches for it or its own certificate is known."""

    host: HostName
    port: Port
    recognised_by: Literal["certificate", "authority"]

    @property
    def host_of(self) -> BrokerHost:
        """The same as a plan has it."""
        return BrokerHost(
            self.host, self.port, authority=AUTHORITY if self.recognised_by == AUTHORITY else None
        )


AUTHORITY: Final = "authority"


class _NetworkText(Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["tetrarch-network-1"]
    members: Annotated[list[PublicPart], Meta(min_length=1, max_length=MAX_MEMBERS)]
    brokers: Annotated[list[BrokerPlace], Meta(max_length=MAX_BROKERS)]


@dataclass(frozen=True, slots=True)
class PublicNetwork:
    """A network as all may know it, checked."""

    directory: Path
    genesis: Genesis
    parts: Sequence[PublicPart]
    brokers: Sequence[BrokerPlace]

    @classmethod
    def load(cls, directory: Path) -> "PublicNetwork":
        """Read and check what lies in `directory`. Raises `ConfigurationError`."""
        genesis = load_genesis(directory / GENESIS_FILE)
        path = directory / NETWORK_FILE
        try:
            text = parse_json(read_bounded(path, MAX_NETWORK_BYTES), _NetworkText, path)
        except FileFault as fault:
            raise ConfigurationError(path, fault.key, fault.what) from None
        network = cls(directory, genesis, text.members, text.brokers)
        _check_members(path, text.members, genesis)
        plan = network.plan()
        for key, what in contradictions(Places(plan.hosts, plan.brokers)):
            raise ConfigurationError(path, key.replace("replicas", "members"), what)
        for part in text.members:
            network.check_certificate(part)
        network.brokers_digest()
        return network

    def plan(
        self, own: str = "", listen: str | None = None, password_file: Path | None = None
    ) -> NetworkPlan:
        """Return the plan of the network; `own`: who asks, and so knows its own `listen`."""
        hosts = tuple(part.place(listen if part.name == own else None) for part in self.parts)
        brokers = tuple(broker.host_of for broker in self.brokers)
        return NetworkPlan(hosts, brokers=brokers, password_file=password_file)

    def certificates(self) -> list[str]:
        """The names of all files that members and brokers are recognised by."""
        brokers = [broker_certificate(number, broker.host_of) for number, broker in enumerate(self.brokers)]
        return [f"{part.name}.crt" for part in self.parts] + brokers

    def check_certificate(self, part: PublicPart) -> None:
        """Raise `ConfigurationError` unless a member's certificate lies there as it signed it."""
        path = self.directory / CERTIFICATES / f"{part.name}.crt"
        if _bytes_of(path) != part.certificate.encode():
            raise ConfigurationError(path, "", f"is not the certificate of {part.name} in the genesis")

    def brokers_digest(self) -> Digest | None:
        """Return what says in 32 bytes which brokers the network has, `None` where it has none. Raises
        `ConfigurationError`."""
        if not self.brokers:
            return None
        parts = [encode((broker.host, broker.port, broker.recognised_by)) for broker in self.brokers]
        for number, broker in enumerate(self.brokers):
            path = self.directory / CERTIFICATES / broker_certificate(number, broker.host_of)
            pem = _bytes_of(path)
            try:
                if broker.recognised_by == AUTHORITY:
                    client_context_authority(path)
                    parts.append(pem)
                else:
                    parts.append(certificate_der(pem))
            except CryptoError as error:
                raise ConfigurationError(path, "", str(error)) from None
        return digest("brokers", *parts)


def save_network(path: Path, parts: Sequence[PublicPart], brokers: Sequence[BrokerHost]) -> None:
    """Write network.json. Raises `FileFault`."""
    places = [
        BrokerPlace(broker.host, broker.port, AUTHORITY if broker.authority else "certificate")
        for broker in brokers
    ]
    write_json(path, _NetworkText(FORMAT, list(parts), places))


def _check_members(path: Path, parts: Sequence[PublicPart], genesis: Genesis) -> None:
    """Guard: exactly the members of the genesis, each as it signed itself."""
    if len(parts) != len(genesis.members):
        what = f"are {len(parts)}, and {len(genesis.members)} in the genesis"
        raise ConfigurationError(path, "members", what)
    for place, (part, member) in enumerate(zip(parts, genesis.members, strict=True)):
        check_part(part, path, f"members[{place}].")
        if part.member != member:
            what = f"is not {member.name} as the genesis names it, by name, key and certificate"
            raise ConfigurationError(path, f"members[{place}]", what)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_CERTIFICATE_BYTES)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None
