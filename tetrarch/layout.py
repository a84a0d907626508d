"""The names of the files of a network's directory, as `tetrarch init` lays it out.

What lives here: names alone, for all who make, read or run such a directory. Importing it costs nothing.

    DIR/genesis.json               what all replicas and clients agree on
    DIR/certificates/NAME.crt      every replica's TLS certificate (public)
    DIR/NAME/                      one replica: node.toml, its keys and certificate, store and log
    DIR/client.toml, client.key    a client, and its outbox
    DIR/broker-N/                  a Mosquitto broker, in networks that have one

Of a network on several machines, each has a directory with its own part of that, a systemd unit for each
process, and a compose file; a client's is called `client`. The ceremony adds

    DIR/NAME.public                what a member tells all others before there is a network
    DIR/public/                    what all are told of the network: genesis.json, network.json, certificates/
"""

from typing import Final

GENESIS_FILE: Final = "genesis.json"
CERTIFICATES: Final = "certificates"

CLIENT: Final = "client"
CLIENT_FILE: Final = "client.toml"
CLIENT_KEY: Final = "client.key"
OUTBOX_FILE: Final = "client.outbox"

CLIENT_PASSWORD: Final = "client.password"
"""For the brokers, where there are any."""

BROKER: Final = "broker"
BROKER_FILE: Final = "mosquitto.conf"
BROKER_PASSWORD: Final = "broker.password"

PUBLIC: Final = "public"
NETWORK_FILE: Final = "network.json"
JOINING_FILE: Final = "joining.json"
"""What a member chose for itself before there was a network."""

COMPOSE_FILE: Final = "compose.yaml"

NODE_FILE: Final = "node.toml"
SIGNING_KEY: Final = "signing.key"
TLS_CERTIFICATE: Final = "tls.crt"
TLS_KEY: Final = "tls.key"

STORE: Final = "store"
PID_FILE: Final = "node.pid"
LOG_FILE: Final = "node.log"
ERROR_FILE: Final = "node.err"
"""What a process writes besides its log: why it could not start, or how it ended."""
