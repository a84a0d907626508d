"""`Client`: the same without await, over real sockets and TLS."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tetrarch
from crypto.digest import Digest
from crypto.keyfile import write_key_file, write_private_file
from crypto.tls import certificate_der, fingerprint, make_identity, server_context_anonymous
from network.address import Address
from network.listener import ClientListener
from tests.ledger.chain_maker import CLIENT_KEY, START
from tests.tetrarch.client.replicas import Network, Pipe, Replica
from tests.tetrarch.client.running import put
from tetrarch import Client, Submission
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.config import ClientConfig, ReplicaText, client_toml
from tetrarch.client.tuning import Tuning
from tetrarch.genesis_file import save_genesis
from tetrarch.trust import TrustRoot
from tetrarch.wire import Frame, pack


class Door:
    """A replica in memory behind a real listener."""

    def __init__(self, replica: Replica, certificate: Path, key: Path) -> None:
        self._replica = replica
        self._pipes: dict[int, Pipe] = {}
        context = server_context_anonymous(certificate, key)
        self.listener = ClientListener(Address("127.0.0.1", 0), context, self)

    def client_up(self, connection: int) -> None:
        pipe = _DoorPipe(self._replica, lambda data: None)
        pipe.out = lambda data: self.listener.send(connection, data)  # type: ignore[method-assign]
        self._pipes[connection] = pipe
        self._replica.pipes.add(pipe)

    def client_frame(self, connection: int, frame: bytes) -> None:
        self._replica.take(self._pipes[connection], frame)

    def client_gone(self, connection: int) -> None:
        self._replica.pipes.discard(self._pipes.pop(connection))


class _DoorPipe(Pipe):
    def out(self, data: bytes) -> object:
        raise AssertionError

    def answer(self, frame: Frame | bytes) -> None:
        self.out(frame if isinstance(frame, bytes) else pack(frame))


class Running:
    """Four replicas behind TLS in a thread of their own, and a client's files."""

    def __init__(self, path: Path) -> None:
        self.network = Network()
        self.file = path / "client.toml"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._run(self._start(path))

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self, path: Path) -> None:
        members, doors = [], []
        for place, member in enumerate(self.network.genesis.members):
            certificate, key = make_identity(member.name)
            (path / f"{place}.pem").write_bytes(certificate)
            write_private_file(path / f"{place}.key", key)
            shown = Digest(fingerprint(certificate_der(certificate)))
            members.append(msgspec.structs.replace(member, tls_fingerprint=shown))
            doors.append((path / f"{place}.pem", path / f"{place}.key"))
        network = self.network = Network(members=tuple(members))
        self._doors = [Door(network.replicas[place], *files) for place, files in enumerate(doors)]
        for door in self._doors:
            await door.listener.start()
        save_genesis(network.genesis, path / "genesis.json")
        write_key_file(path / "client.key", CLIENT_KEY.seed, None)
        replicas = {
            member.name: ReplicaText(str(self._doors[place].listener.address), f"{place}.pem")
            for place, member in enumerate(members)
        }
        self.file.write_text(client_toml("genesis.json", "client.key", "outbox", replicas))

    def client(self) -> Client:
        """A client whose clock is the network's."""
        config = ClientConfig.load(self.file)
        network = self.network
        return Client(
            AsyncClient(
                config.trust,
                config.signer(),
                config.dialer(),
                outbox=config.open_outbox(),
                tuning=Tuning(),
                wall=network.clock,
            )
        )

    def stop(self) -> None:
        for door in self._doors:
            self._run(door.listener.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    network = Running(tmp_path)
    yield network
    network.stop()


def test_the_example_of_the_documentation_works(running: Running, tmp_path: Path) -> None:
    with running.client() as client:
        receipt = client.submit({"op": "put", "key": "a", "value": "1"}, idempotency_key="order-17")
        receipt.save(tmp_path / "order-17.receipt")
        verified = client.get("a", min_height=receipt.height)
        assert verified.value == "1"
        answered = client.query({"op": "get", "key": "a"}, min_height=receipt.height)
        assert (answered.value, answered.raw, answered.height) == ("1", b'"1"', receipt.height)
        for event in client.subscribe(from_height=receipt.height):
            assert event.transactions[0].tx_id == receipt.tx_id
            break
    trust = tetrarch.TrustRoot.load(tmp_path / "genesis.json")
    assert tetrarch.Receipt.load(tmp_path / "order-17.receipt").verify(trust).height == receipt.height


def test_thousands_go_over_tls_with_one_verified_outcome_each(running: Running) -> None:
    with running.client() as client:
        items = [Submission(put(f"k{number}"), f"line-{number}") for number in range(1000)]
        found = {outcome.index: outcome for outcome in client.submit_many(items)}
        assert [found[place].status for place in range(1000)] == ["committed"] * 1000
        receipt = found[500].receipt
        assert receipt is not None
        receipt.verify(client.trust)
        again = list(client.submit_many(items))
    assert {outcome.tx_id for outcome in again} == {outcome.tx_id for outcome in found.values()}
    assert sum(len(block.transactions) for block in _blocks(running.network)) == 1000


def _blocks(network: Network) -> list[Any]:
    return [network.ledger.block(height) for height in range(1, network.ledger.height + 1)]  # type: ignore[arg-type]


def test_submissions_are_read_in_the_calling_thread(running: Running) -> None:
    seen: set[int] = set()

    def submissions() -> Iterator[dict[str, Any]]:
        for number in range(300):
            seen.add(threading.get_ident())
            yield put(f"k{number}")

    with running.client() as client:
        assert len(list(client.submit_many(submissions()))) == 300
    assert seen == {threading.get_ident()}


def test_threads_may_share_a_client(running: Running) -> None:
    with running.client() as client:
        receipts: list[tetrarch.Receipt] = []
        threads = [
            threading.Thread(target=lambda number=number: receipts.append(client.submit(put(f"k{number}"))))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({receipt.tx_id for receipt in receipts}) == 8
        assert {client.receipt(receipt.tx_id).height for receipt in receipts} == {
            receipt.height for receipt in receipts
        }


def test_errors_cross_to_the_caller(running: Running) -> None:
    with running.client() as client:
        with pytest.raises(tetrarch.Rejected) as caught:
            client.submit({"op": "nonsense"})
        assert caught.value.code == "invalid"
        with pytest.raises(KeyError):
            client.outcome("never used")
        running.network.ordering = False
        with pytest.raises(tetrarch.OutcomeUnknown):
            client.submit(put("a"), "kept", timeout=0.1)
        running.network.ordering = True
        [recovered] = list(client.recover())
        assert (recovered.status, recovered.idempotency_key) == ("committed", "kept")
        assert client.outcome("kept").height == recovered.height


def test_status_names_all_replicas(running: Running) -> None:
    with running.client() as client:
        assert [state.name for state in client.status() if state.reachable] == [
            f"replica-{member}" for member in range(4)
        ]


def test_a_replica_with_another_certificate_is_not_talked_to(running: Running, tmp_path: Path) -> None:
    text = running.file.read_text()
    one, two = (str(running._doors[place].listener.address) for place in (0, 1))
    running.file.write_text(text.replace(one, "ELSEWHERE").replace(two, one).replace("ELSEWHERE", two))
    with running.client() as client:
        states = client.status()
    assert [state.reachable for state in states] == [False, False, True, True]
    assert "certificate" in states[0].cause


def test_a_closed_client_says_so(running: Running) -> None:
    client = running.client()
    client.close()
    client.close()
    with pytest.raises(ValueError, match="the client is closed"):
        client.submit(put("a"))


def test_an_interrupted_subscription_leaves_the_client_usable(running: Running) -> None:
    with running.client() as client:
        client.submit(put("a"), valid_until=START + 1000)
        stream = client.subscribe(1)
        next(stream)
        stream.close()
        assert client.get("a").value == "1"


def test_the_trust_root_is_the_genesis_files(running: Running, tmp_path: Path) -> None:
    with running.client() as client:
        assert client.trust == TrustRoot.load(tmp_path / "genesis.json")


def test_a_second_event_loop_is_told_that_the_client_is_not_its(running: Running) -> None:
    client = AsyncClient.open(running.file)
    first = asyncio.new_event_loop()
    first.run_until_complete(client.status())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(client.status())
    first.run_until_complete(client.close())
    first.close()
