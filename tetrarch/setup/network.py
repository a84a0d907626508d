"""A whole network by one hand: `tetrarch init`.

What lives here: the order in which its files are made. What must not be known here: what stands in them.

On one machine, everything lies in one directory. On several (`NetworkPlan.bundles`), each machine gets a
directory of its own: `tetrarch.setup.bundles`.
"""

from pathlib import Path

from crypto.digest import Digest
from crypto.keyfile import write_key_file
from crypto.keys import SigningKey
from crypto.roster import MemberId
from crypto.tls import certificate_der, fingerprint
from ledger.applications.assets import ISSUERS
from ledger.genesis import Genesis, GenesisMember
from tetrarch.genesis_file import save_genesis
from tetrarch.layout import (
    BROKER_PASSWORD,
    CERTIFICATES,
    CLIENT_FILE,
    CLIENT_KEY,
    CLIENT_PASSWORD,
    GENESIS_FILE,
    NODE_FILE,
)
from tetrarch.passwords import read_password
from tetrarch.setup.brokers import CLIENT_USER, access_rights, hashed, new_password, write_brokers
from tetrarch.setup.bundles import arrange
from tetrarch.setup.directories import OPEN, PRIVATE, appearing
from tetrarch.setup.errors import SetupError
from tetrarch.setup.identities import write_identity, write_secret
from tetrarch.setup.places import Places, contradictions
from tetrarch.setup.plan import NetworkPlan, check_application, check_size, found
from tetrarch.setup.texts import client_text, node_text


def make_network(directory: Path, plan: NetworkPlan) -> Genesis:
    """Make the network in `directory`, which must not exist yet or be empty; returns its genesis.

    The directory appears with everything in it, or not at all. Raises `SetupError`, `ConfigurationError`.
    """
    check_size(len(plan.hosts), plan.development)
    for key, what in contradictions(Places(plan.hosts, plan.brokers)):
        raise SetupError(f"{key}: {what}")
    password = None if plan.password_file is None else read_password(plan.password_file)
    client = SigningKey.generate()
    name = directory.absolute().name
    with appearing(directory, PRIVATE if plan.bundles else OPEN) as beside:
        if not plan.bundles:
            return _write(beside, name, plan, client, password)
        whole = beside / ".whole"  # no machine can be called that
        whole.mkdir(mode=PRIVATE)
        genesis = _write(whole, name, plan, client, password)
        arrange(whole, beside, plan, genesis)
        return genesis


def _write(
    directory: Path, name: str, plan: NetworkPlan, client: SigningKey, password: bytes | None
) -> Genesis:
    parameters = dict(plan.parameters)
    if plan.application == "assets":
        # Who makes the network may issue; that anybody may is never what was meant.
        parameters.setdefault(ISSUERS, client.public_key.hex())
    check_application(plan.application, parameters)
    (directory / CERTIFICATES).mkdir()
    members = [_write_member(directory, name, plan, place, password) for place, name in enumerate(plan.names)]
    genesis = found(plan, name, members, parameters)
    save_genesis(genesis, directory / GENESIS_FILE)
    _write_accounts(directory, plan, genesis)
    for place, member in enumerate(members):
        (directory / member.name / NODE_FILE).write_text(node_text(plan, genesis, place))
    write_key_file(directory / CLIENT_KEY, client.seed, password)
    (directory / CLIENT_FILE).write_text(client_text(plan, genesis, CLIENT_USER))
    return genesis


def _write_member(
    directory: Path, name: str, plan: NetworkPlan, place: int, password: bytes | None
) -> GenesisMember:
    """Make one replica's directory with its keys and its certificate."""
    (directory / name).mkdir(mode=PRIVATE)
    signer, certificate = write_identity(directory / name, name, plan.hosts[place].host, password)
    (directory / CERTIFICATES / f"{name}.crt").write_bytes(certificate)
    return GenesisMember(name, signer.public_key, Digest(fingerprint(certificate_der(certificate))))


def _write_accounts(directory: Path, plan: NetworkPlan, genesis: Genesis) -> None:
    """Make the brokers, if there are to be any, and give everyone a password for them."""
    if not plan.brokers:
        return
    members = {member.name: MemberId(place) for place, member in enumerate(genesis.members)}
    rights = access_rights(genesis.chain_id, members, (CLIENT_USER,))
    passwords = {user: new_password() for user in rights}
    hashes = {user: hashed(password) for user, password in passwords.items()}
    write_brokers(directory, directory / CERTIFICATES, genesis.name, plan.brokers, rights, hashes)
    write_secret(directory / CLIENT_PASSWORD, passwords.pop(CLIENT_USER))
    for user, password in passwords.items():
        write_secret(directory / user / BROKER_PASSWORD, password)
