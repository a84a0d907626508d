"""The text of node.toml and client.toml.

What lives here: what stands in them, for members and clients of a plan. What must not be known here: who
asks, and how they are read again (`tetrarch.config`, `tetrarch.client.config`).
"""

from typing import Final

from ledger.genesis import Genesis
from network.address import Address
from tetrarch.brokers import BrokerText, brokers_toml
from tetrarch.client.config import ReplicaText, client_toml
from tetrarch.layout import (
    BROKER_PASSWORD,
    CERTIFICATES,
    CLIENT_KEY,
    CLIENT_PASSWORD,
    GENESIS_FILE,
    LOG_FILE,
    OUTBOX_FILE,
    SIGNING_KEY,
    STORE,
    TLS_CERTIFICATE,
    TLS_KEY,
)
from tetrarch.ports import LOOPBACK
from tetrarch.setup.places import BrokerHost, broker_name
from tetrarch.setup.plan import NetworkPlan
from tetrarch.toml_file import toml_string

_NODE_TEXT: Final = """\
# {name}: what is local to this machine. What all replicas must agree on is in the genesis.
# Paths are relative to this file's directory.
name = "{name}"
genesis = "../{genesis}"
store = "{store}"
# JSON lines; without this key, readable lines on stderr.
log = "{log}"
# true for the first start on a store that came out of a backup (or is new while the old one is lost), then
# false again: the replica itself remembers until it is safe to vote.
restored_from_backup = false

[keys]
signing_key = "{signing_key}"
certificate = "{certificate}"
private_key = "{private_key}"
{password}"""

_LISTEN_TEXT: Final = """
[listen]
peers = "{peers}"
clients = "{clients}"
"""

_METRICS_TEXT: Final = """
# /metrics, /healthz and /readyz over plain HTTP: for this machine or a private network alone.
[metrics]
listen = "{metrics}"
"""

_PEER_TEXT: Final = """
[[peers]]
name = "{name}"
address = "{address}"
certificate = "../{certificates}/{name}.crt"
"""


def node_text(plan: NetworkPlan, genesis: Genesis, place: int) -> str:
    """Return the node.toml of the member in this place."""
    host = plan.hosts[place]
    password = plan.password_file
    name = genesis.members[place].name
    text = _NODE_TEXT.format(
        name=name,
        genesis=GENESIS_FILE,
        store=STORE,
        log=LOG_FILE,
        signing_key=SIGNING_KEY,
        certificate=TLS_CERTIFICATE,
        private_key=TLS_KEY,
        password="" if password is None else f"password_file = {toml_string(str(password.absolute()))}\n",
    )
    if host.transport == "tcp" or host.listen is not None:
        interface = host.listen or host.host
        text += _LISTEN_TEXT.format(
            peers=Address(interface, host.peer_port), clients=Address(interface, host.client_port)
        )
    if host.metrics_port is not None:
        text += _METRICS_TEXT.format(metrics=Address(LOOPBACK, host.metrics_port))
    text += brokers_toml(_broker_texts(plan, name, BROKER_PASSWORD, f"../{CERTIFICATES}"))
    return text + "".join(
        _PEER_TEXT.format(
            name=genesis.members[other].name,
            address=Address(there.host, there.peer_port),
            certificates=CERTIFICATES,
        )
        for other, there in enumerate(plan.hosts)
        if other != place and host.transport == there.transport == "tcp"
    )


def client_text(plan: NetworkPlan, genesis: Genesis, user: str) -> str:
    """Return a client.toml; `user`: its account at the brokers."""
    replicas = {
        member.name: ReplicaText(
            str(Address(host.host, host.client_port)), f"{CERTIFICATES}/{member.name}.crt"
        )
        for member, host in zip(genesis.members, plan.hosts, strict=True)
        if host.transport == "tcp"
    }
    brokers = _broker_texts(plan, user, CLIENT_PASSWORD, CERTIFICATES)
    return client_toml(GENESIS_FILE, CLIENT_KEY, OUTBOX_FILE, replicas, brokers)


def broker_certificate(number: int, broker: BrokerHost) -> str:
    """Return the name of the file by which a broker is recognised: its own certificate, or an authority's."""
    return f"{broker_name(number)}.{'pem' if broker.authority else 'crt'}"


def _broker_texts(plan: NetworkPlan, user: str, password_file: str, certificates: str) -> list[BrokerText]:
    texts = []
    for number, broker in enumerate(plan.brokers):
        recognised = f"{certificates}/{broker_certificate(number, broker)}"
        texts.append(
            BrokerText(
                str(Address(broker.host, broker.port)),
                user,
                password_file,
                certificate=None if broker.authority else recognised,
                authority=recognised if broker.authority else None,
            )
        )
    return texts
