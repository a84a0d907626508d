"""The ceremony: a network of which nobody ever holds two members' keys.

What lives here: the steps, each done by another party. What must not be known here: what is printed.

    join      each party makes its own keys, and a public part signed with them
    gather    whoever coordinates makes the genesis of all public parts, and the brokers, if there are any
    settle    each party checks that the network is the one it joined, and makes its own configuration

Between the steps nothing but public parts and the public directory travels. Whoever coordinates could leave
somebody out, or put another in: so all compare the chain id, which covers every member's key and certificate.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from crypto.errors import CryptoError
from crypto.keyfile import read_key_file
from crypto.keys import SigningKey
from crypto.roster import MemberId
from crypto.tls import server_context_anonymous
from ledger.applications.assets import ISSUERS
from ledger.genesis import Genesis
from ledger.jsonfile import FileFault, parse_json, read_bounded, write_json
from tetrarch.errors import ConfigurationError
from tetrarch.genesis_file import load_genesis, save_genesis
from tetrarch.layout import (
    BROKER_PASSWORD,
    CERTIFICATES,
    CLIENT_FILE,
    GENESIS_FILE,
    JOINING_FILE,
    NETWORK_FILE,
    NODE_FILE,
    PUBLIC,
    SIGNING_KEY,
    TLS_CERTIFICATE,
    TLS_KEY,
)
from tetrarch.passwords import read_password
from tetrarch.setup.brokers import access_rights, hashed, new_password, write_brokers
from tetrarch.setup.bundles import all_certificates, copy_public, machines
from tetrarch.setup.directories import PRIVATE, appearing, faults
from tetrarch.setup.errors import SetupError
from tetrarch.setup.identities import write_identity, write_secret
from tetrarch.setup.places import Host, HostName, Places, contradictions
from tetrarch.setup.plan import NetworkPlan, check_application, check_size, found
from tetrarch.setup.public_network import PublicNetwork, save_network
from tetrarch.setup.public_part import SOMEWHERE, PublicPart, load_part, save_part, signed_part
from tetrarch.setup.services import write_services
from tetrarch.setup.texts import node_text

MAX_JOINING_BYTES: Final = 16 * 1024


class _Joining(Struct, frozen=True, forbid_unknown_fields=True):
    """joining.json: what a member chose that is nobody else's concern."""

    listen: HostName | None
    password_file: Annotated[str, Meta(max_length=4096)] | None


def public_file(directory: Path, name: str) -> Path:
    """Return where a member's public part lies in its own directory."""
    return directory / f"{name}.{PUBLIC}"


def join(directory: Path, host: Host, password_file: Path | None) -> PublicPart:
    """Make the keys of a member with this name and place in `directory`/NAME, and its public part beside it;
    returns that.

    Raises `SetupError`, `ConfigurationError`.
    """
    for key, what in contradictions(Places((host,), SOMEWHERE)):
        raise SetupError(f"{key.partition('.')[2]}: {what}")
    name = str(host.name)
    password = None if password_file is None else read_password(password_file)
    public = public_file(directory, name)
    if public.exists():
        raise SetupError(f"{public} exists already, and is never overwritten: choose another name")
    if (directory / CLIENT_FILE).exists():
        raise SetupError(f"{directory} is a client's, or a whole network's: choose another directory")
    with faults(directory):
        directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    with appearing(directory / name, PRIVATE) as beside:
        signer, certificate = write_identity(beside, name, host.host, password)
        broker_password = new_password()
        write_secret(beside / BROKER_PASSWORD, broker_password)
        absolute = None if password_file is None else str(password_file.absolute())
        write_json(beside / JOINING_FILE, _Joining(host.listen, absolute))
    part = signed_part(signer, host, name, certificate, hashed(broker_password))
    save_part(part, public)
    return part


def gather(directory: Path, files: Sequence[Path], plan: NetworkPlan) -> PublicNetwork:
    """Make the network of all whose public parts are in `files`: `directory`/public for everybody, and a
    directory for each machine that has a broker.

    `plan.hosts` are taken from the parts. Raises `SetupError`, `ConfigurationError`.
    """
    parts = [load_part(file) for file in files]
    _check_distinct(files, parts)
    check_size(len(parts), plan.development)
    plan = _placed(files, parts, plan)
    parameters = dict(plan.parameters)
    if plan.application == "assets" and ISSUERS not in parameters:
        raise SetupError(f"assets needs --parameter {ISSUERS}=KEY, since nobody's key is made here")
    check_application(plan.application, parameters)
    genesis = found(plan, directory.absolute().name, [part.member for part in parts], parameters)
    with appearing(directory) as beside:
        public = beside / PUBLIC
        (public / CERTIFICATES).mkdir(parents=True)
        save_genesis(genesis, public / GENESIS_FILE)
        save_network(public / NETWORK_FILE, parts, plan.brokers)
        for part in parts:
            (public / CERTIFICATES / f"{part.name}.crt").write_text(part.certificate)
        _write_brokers(beside, public, genesis, parts, plan)
    return PublicNetwork.load(directory / PUBLIC)


def _check_distinct(files: Sequence[Path], parts: Sequence[PublicPart]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for file, part in zip(files, parts, strict=True):
        for key in ("name", "public_key", "certificate"):
            value = getattr(part, key)
            known = (key, value.lower() if key == "name" else value)
            if known in seen:
                raise ConfigurationError(file, key, f"is that of {seen[known]}")
            seen[known] = file


def _placed(files: Sequence[Path], parts: Sequence[PublicPart], plan: NetworkPlan) -> NetworkPlan:
    """The plan with all members in their places, which must not exclude each other."""
    placed = replace(plan, hosts=tuple(part.place() for part in parts))
    for key, what in contradictions(Places(placed.hosts, placed.brokers)):
        kind, _, rest = key.partition("[")
        number, _, field = rest.partition("].")
        if kind == "replicas":
            hint = "is mqtt, but no --broker was given" if field == "transport" else what
            raise ConfigurationError(files[int(number)], field, hint)
        raise SetupError(f"--broker {placed.brokers[int(number)].host}: {what}")
    return placed


def _write_brokers(
    directory: Path, public: Path, genesis: Genesis, parts: Sequence[PublicPart], plan: NetworkPlan
) -> None:
    """Make the brokers' files, in a directory for each machine that has any."""
    if not plan.brokers:
        return
    members = {part.name: MemberId(place) for place, part in enumerate(parts)}
    rights = access_rights(genesis.chain_id, members, ())
    hashes = {part.name: part.broker_password for part in parts}
    whole = directory / ".whole"
    whole.mkdir(mode=PRIVATE)
    write_brokers(whole, public / CERTIFICATES, genesis.name, plan.brokers, rights, hashes)
    for name, homes in machines(plan).items():
        own = [home for home in homes if (whole / home).is_dir()]
        if own:
            (directory / name).mkdir(mode=PRIVATE)
            copy_public(public, directory / name, all_certificates(public))
            for home in own:
                (whole / home).rename(directory / name / home)
            write_services(directory / name, genesis, None)
    whole.rmdir()


def settle(directory: Path, name: str, public: Path) -> PublicNetwork:
    """Make the configuration of a member that joined in `directory`, for the network in `public`.

    Raises `SetupError`, `ConfigurationError`: above all where the network is not the one that was joined.
    """
    network = PublicNetwork.load(public)
    home = directory / name
    if not (home / SIGNING_KEY).is_file():
        raise SetupError(
            f"{name} has no keys in {directory}: tetrarch init {directory} --join {name} --host …"
        )
    if (home / NODE_FILE).exists():
        raise SetupError(f"{home / NODE_FILE} exists already, and is never overwritten")
    place = _own_place(directory, name, network)
    joining = _load_joining(home / JOINING_FILE)
    password_file = None if joining.password_file is None else Path(joining.password_file)
    _check_own_keys(home, network.parts[place], password_file)
    known = directory / GENESIS_FILE
    if known.exists() and load_genesis(known).chain_id != network.genesis.chain_id:
        raise SetupError(f"{known} is of another chain: a directory holds members of one network")
    with faults(directory):
        copy_public(public, directory, network.certificates())
        plan = network.plan(name, joining.listen, password_file)
        (home / NODE_FILE).write_text(node_text(plan, network.genesis, place))
        write_services(directory, network.genesis, password_file)
    return network


def _own_place(directory: Path, name: str, network: PublicNetwork) -> int:
    """Which member one is: exactly as one's own public part says."""
    path = public_file(directory, name)
    own = load_part(path)
    names = [part.name for part in network.parts]
    if name not in names:
        what = f"{name} is no member of this network, which has {', '.join(names)}"
        raise ConfigurationError(network.directory / NETWORK_FILE, "members", what)
    place = names.index(name)
    for field in own.__struct_fields__:
        if getattr(network.parts[place], field) != getattr(own, field):
            what = f"is not what {path} says: this is not the network that {name} joined"
            raise ConfigurationError(network.directory / NETWORK_FILE, f"members[{place}].{field}", what)
    return place


def _check_own_keys(home: Path, part: PublicPart, password_file: Path | None) -> None:
    """Guard: the secrets are still those that the public part belongs to."""
    password = None if password_file is None else read_password(password_file)
    try:
        signer = SigningKey(read_key_file(home / SIGNING_KEY, password))
        server_context_anonymous(home / TLS_CERTIFICATE, home / TLS_KEY)
    except CryptoError as error:
        raise SetupError(str(error)) from None
    if signer.public_key.hex() != part.public_key:
        raise ConfigurationError(home / SIGNING_KEY, "public_key", f"is not that of {part.name}.{PUBLIC}")
    if (home / TLS_CERTIFICATE).read_bytes() != part.certificate.encode():
        raise ConfigurationError(home / TLS_CERTIFICATE, "", f"is not that of {part.name}.{PUBLIC}")


def _load_joining(path: Path) -> _Joining:
    try:
        return parse_json(read_bounded(path, MAX_JOINING_BYTES), _Joining, path)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None
