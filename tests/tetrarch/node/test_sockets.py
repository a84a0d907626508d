"""Four replicas and a client over real sockets and TLS, on real disks, in one event loop."""

import asyncio
import socket
from pathlib import Path

from crypto.attestation import Height, attested
from crypto.digest import Digest
from crypto.keyfile import write_private_file
from crypto.roster import MemberId
from crypto.tls import certificate_der, client_context_anonymous, fingerprint, make_identity
from ledger.genesis import Genesis, GenesisMember
from ledger.keyvalue import RocksKeyValue
from network.dial import ClientConnection
from network.tcp import Address
from tests.tetrarch.node.support import KEYS, transaction
from tetrarch.decoding import FrameDecoder
from tetrarch.node.composition import compose
from tetrarch.node.logs import Log
from tetrarch.node.settings import NodeSettings
from tetrarch.node.shell import Node, clocks
from tetrarch.node.sockets import Sockets
from tetrarch.wire import (
    TO_CLIENTS,
    AskBlocks,
    AskStatus,
    Attested,
    Blocks,
    Frame,
    Results,
    StatusReply,
    Submit,
    pack,
)

DEADLINE_S = 60
_decoder = FrameDecoder(TO_CLIENTS, 10**7)


def free_addresses(count: int) -> list[Address]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [Address("127.0.0.1", each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def make_network(folder: Path, n: int = 4) -> list[NodeSettings]:
    certificates = []
    for number in range(n):
        certificate, key = make_identity(f"replica-{number}", ["127.0.0.1"])
        home = folder / f"replica-{number}"
        home.mkdir()
        (home / "tls.pem").write_bytes(certificate)
        write_private_file(home / "tls.key", key)
        certificates.append(certificate)
    members = tuple(
        GenesisMember(
            f"replica-{number}", KEYS[number].public_key, Digest(fingerprint(certificate_der(certificate)))
        )
        for number, certificate in enumerate(certificates)
    )
    genesis = Genesis(1, "sockets", 0, "pbft", "kv", members)
    peers, clients = free_addresses(n), free_addresses(n)
    return [
        NodeSettings(
            genesis=genesis,
            member=MemberId(number),
            signer=KEYS[number],
            store=folder / f"replica-{number}" / "store",
            certificate=folder / f"replica-{number}" / "tls.pem",
            private_key=folder / f"replica-{number}" / "tls.key",
            peer_certificates=tuple(certificates),
            peer_listen=peers[number],
            client_listen=clients[number],
            peers=tuple(peers),
            log=folder / f"replica-{number}" / "log",
        )
        for number in range(n)
    ]


class Running:
    """One replica, run as a task."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.log = Log(settings.name, settings.log)
        self.disk = RocksKeyValue.open(settings.store)
        self.heart = compose(settings, self.disk)
        self.node = Node(
            settings,
            self.disk,
            self.heart,
            lambda handler: Sockets(settings, handler, self.log.warning),
            self.log,
        )
        self.task = asyncio.create_task(self.node.run())

    async def stop(self) -> int:
        self.node.stop()
        code = await self.task
        self.disk.close()
        self.log.close()
        return code


class Client:
    """A connection to one replica, and the frames that came."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()

    async def connect(self, settings: NodeSettings) -> "Client":
        context = client_context_anonymous(settings.peer_certificates)
        assert settings.client_listen is not None
        expected = settings.genesis.members[settings.member].tls_fingerprint
        self.connection = await ClientConnection.connect(
            settings.client_listen,
            context,
            expected,
            lambda frame: self.frames.put_nowait(_decoder.decode(frame)),
        )
        return self

    async def status(self) -> StatusReply:
        self.connection.send(pack(AskStatus(1)))
        while True:
            frame = await self.frames.get()
            if isinstance(frame, StatusReply):
                return frame

    async def block(self, height: int) -> None:
        """Wait until this replica has executed `height`."""
        self.connection.send(pack(AskBlocks(2, Height(height), False)))
        while True:
            frame = await self.frames.get()
            if isinstance(frame, Blocks):
                assert frame.attestations, "held until the height exists"
                return

    async def blocks_with(self, count: int) -> dict[int, bytes]:
        """The attested hashes of blocks, until results of `count` transactions came."""
        hashes: dict[int, bytes] = {}
        got = 0
        while got < count:
            frame = await self.frames.get()
            if isinstance(frame, Results | Attested):
                statement = attested(frame.attestation)
                hashes[statement.height] = statement.block_hash
                got += len(frame.entries) if isinstance(frame, Results) else 0
        return hashes


async def submit(genesis: Genesis, clients: list[Client], first: int, count: int) -> list[dict[int, bytes]]:
    soon = clocks().wall + 60_000
    raws = tuple(transaction(genesis, number, valid_until=soon) for number in range(first, first + count))
    for client in clients:
        client.connection.send(pack(Submit(True, raws)))
    return [await client.blocks_with(count) for client in clients]


def test_a_replica_tells_of_connections_that_came_to_nothing(tmp_path: Path) -> None:
    settings = make_network(tmp_path)[0]

    async def story() -> None:
        replica = Running(settings)
        await replica.node.started.wait()
        client = await Client().connect(settings)
        for address in (settings.client_listen, settings.peer_listen):
            assert address is not None
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"no hello of TLS")
            while await reader.read(100):
                pass
            writer.close()
        other = (await Client().connect(settings)).connection
        other.close()
        await other.wait_closed()
        counted = dict((await client.status()).ignored)
        assert counted["client connection: handshake_failed"] == 1
        assert counted["member connection: handshake_failed"] == 1
        assert not any("closed_by" in reason for reason in counted)
        client.connection.close()
        await replica.stop()

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))
    assert '"client connection: handshake_failed": 1' in (tmp_path / "replica-0" / "log").read_text()


def test_four_replicas_agree_over_tls_lose_one_and_take_it_back(tmp_path: Path) -> None:
    networks = make_network(tmp_path)
    genesis = networks[0].genesis

    async def story() -> None:
        replicas = [Running(settings) for settings in networks]
        for replica in replicas:
            await replica.node.started.wait()
        clients = [await Client().connect(settings) for settings in networks]
        answers = await submit(genesis, clients, 0, 200)
        assert all(answer == answers[0] for answer in answers)
        assert await replicas[3].stop() == 0
        answers = await submit(genesis, clients[:3], 200, 200)
        assert all(answer == answers[0] for answer in answers)
        replicas[3] = Running(networks[3])
        await replicas[3].node.started.wait()
        back = await Client().connect(networks[3])
        ahead = await clients[0].status()
        await back.block(ahead.height)
        final = [await client.status() for client in (*clients[:3], back)]
        assert len({status.state_root for status in final}) == 1
        assert final[0].resident_bytes > 0
        for client in (*clients[:3], back):
            client.connection.close()
        assert [await replica.stop() for replica in replicas] == [0, 0, 0, 0]

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))
    events = (tmp_path / "replica-3" / "log").read_text()
    assert '"event": "peer_up"' in events
    assert '"event": "started"' in events
