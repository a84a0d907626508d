"""A damaged store is refused when it is opened, with the height and what to do; the untouched one is not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crypto.attestation import Height
from crypto.codec import encode
from ledger.application import load_application
from ledger.block import Block, blocks
from ledger.errors import CorruptStore, OtherChain, StoreError
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.ledger import Ledger
from ledger.store import CHAIN_KEY, HEAD_KEY, Identity, height_key, seal
from ledger.transaction import transaction_id
from tests.ledger.disks import Disk, MemoryDisk, RocksDisk, change, flip
from tests.ledger.executing import Chain, genesis_of, put


@pytest.fixture(params=["memory", "rocks"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made: Disk = MemoryDisk() if request.param == "memory" else RocksDisk(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def chain(disk: Disk) -> Chain:
    """Five blocks of three transactions, a repeat in the last, and some of the engine's records; closed."""
    chain = Chain(disk)
    transactions = [chain.transaction(put(f"key {number}", f"{number}")) for number in range(15)]
    for number in range(5):
        batch = transactions[3 * number : 3 * number + 3]
        chain.execute([*batch, transactions[0]] if number == 4 else batch)
    chain.ledger.write_engine_records([(b"v", b"view"), (b"a1", b"vote")], [(b"checkpoint/4", b"kept")])
    chain.ledger.sync()
    disk.close()
    return chain


def ids_of(chain: Chain, height: int) -> list[bytes]:
    block = chain.open().block(Height(height))
    assert block is not None
    chain.disk.close()
    return [transaction_id(raw) for raw in block.transactions]


def test_an_untouched_store_opens(chain: Chain) -> None:
    assert chain.open().height == 5


@pytest.mark.parametrize("at", [0, 40, 200, -1, -5])
@pytest.mark.parametrize("height", [1, 3, 5])
def test_a_flipped_byte_of_a_block_is_found_with_its_height(chain: Chain, height: int, at: int) -> None:
    change(chain.disk, Family.BLOCKS, height_key(Height(height)), flip(at))
    with pytest.raises(CorruptStore, match=f"corrupt at height {height}.*Move the store aside") as found:
        chain.open()
    assert found.value.height == height
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("family", [Family.CERTIFICATES, Family.BLOCKS])
@pytest.mark.parametrize("height", [2, 5])
def test_a_missing_record_of_a_height_is_found(chain: Chain, family: Family, height: int) -> None:
    change(chain.disk, family, height_key(Height(height)), lambda value: None)
    with pytest.raises(CorruptStore) as found:
        chain.open()
    assert found.value.height == height


def test_a_flipped_byte_of_a_certificate_is_found_with_its_height(chain: Chain) -> None:
    change(chain.disk, Family.CERTIFICATES, height_key(Height(4)), flip(2))
    with pytest.raises(CorruptStore, match="corrupt at height 4"):
        chain.open()


@pytest.mark.parametrize("key", [CHAIN_KEY, HEAD_KEY])
@pytest.mark.parametrize("at", [0, 5, -1])
def test_a_flipped_byte_of_the_bookkeeping_is_found(chain: Chain, key: bytes, at: int) -> None:
    change(chain.disk, Family.META, key, flip(at))
    with pytest.raises(CorruptStore, match="checksum"):
        chain.open()


@pytest.mark.parametrize("key", [CHAIN_KEY, HEAD_KEY])
def test_missing_bookkeeping_is_found(chain: Chain, key: bytes) -> None:
    change(chain.disk, Family.META, key, lambda value: None)
    with pytest.raises(CorruptStore):
        chain.open()


@pytest.mark.parametrize("damage", [flip(0), flip(9), flip(-1), lambda value: None])
def test_a_damaged_or_missing_index_record_is_found(
    chain: Chain, damage: Callable[[bytes], bytes | None]
) -> None:
    change(chain.disk, Family.INDEX, ids_of(chain, 3)[1], damage)
    with pytest.raises(CorruptStore):
        chain.open()


def test_an_index_record_that_leads_elsewhere_is_found_though_its_seal_holds(chain: Chain) -> None:
    here, there = ids_of(chain, 3)[:2]
    store = chain.disk.open()
    other = store.get(Family.INDEX, there)
    assert other is not None
    store.write([(Family.INDEX, here, seal(Family.INDEX, here, other[:-4]))])
    store.sync()
    chain.disk.close()
    with pytest.raises(CorruptStore, match="corrupt at height 3: the index does not lead to"):
        chain.open()


def test_a_record_under_anothers_key_is_found(chain: Chain) -> None:
    store = chain.disk.open()
    certificate = store.get(Family.CERTIFICATES, height_key(Height(3)))
    store.write([(Family.CERTIFICATES, height_key(Height(2)), certificate)])
    store.sync()
    chain.disk.close()
    with pytest.raises(CorruptStore, match="corrupt at height 2"):
        chain.open()


def test_every_flipped_byte_of_the_state_is_found(chain: Chain) -> None:
    rows = dict(chain.disk.open().scan(Family.STATE))
    chain.disk.close()
    assert len(rows) == 15
    for key in list(rows)[::7]:
        for at in (0, 5, -1):
            change(chain.disk, Family.STATE, key, flip(at))
            with pytest.raises(CorruptStore, match="corrupt at height 5"):
                chain.open()
            chain.disk.close()
            change(chain.disk, Family.STATE, key, flip(at))
    chain.open()


def test_a_missing_or_foreign_row_of_the_state_is_found(chain: Chain) -> None:
    store = chain.disk.open()
    key, value = next(iter(store.scan(Family.STATE)))
    for row in (None, value + b"0"):
        store.write([(Family.STATE, key, row)])
        with pytest.raises(CorruptStore, match="corrupt at height 5"):
            Ledger.open(chain.genesis, load_application("kv", {}), store)
    store.write([(Family.STATE, key, value)])
    Ledger.open(chain.genesis, load_application("kv", {}), store)


@pytest.mark.parametrize("key", [b"v", b"a1"])
def test_a_flipped_byte_of_a_vote_is_found(chain: Chain, key: bytes) -> None:
    change(chain.disk, Family.VOTES, key, flip(0))
    with pytest.raises(CorruptStore, match="family votes"):
        chain.open()


def test_a_flipped_byte_of_the_archive_is_found(chain: Chain) -> None:
    change(chain.disk, Family.ARCHIVE, b"checkpoint/4", flip(0))
    with pytest.raises(CorruptStore, match="family archive"):
        chain.open()


@pytest.mark.parametrize(
    ("family", "key"), [(Family.VOTES, b"v"), (Family.VOTES, b"a1"), (Family.ARCHIVE, b"checkpoint/4")]
)
def test_a_missing_record_of_the_engines_is_found(chain: Chain, family: Family, key: bytes) -> None:
    change(chain.disk, family, key, lambda value: None)
    with pytest.raises(CorruptStore, match=r"height 5: records of the engine's are missing.*2, 3 were"):
        chain.open()


def test_a_record_of_the_engines_from_another_store_is_found(chain: Chain) -> None:
    change(chain.disk, Family.VOTES, b"v", lambda value: seal(Family.VOTES, b"v", b"another"))
    with pytest.raises(CorruptStore, match="another store's"):
        chain.open()


def test_records_of_the_engines_that_were_deleted_and_replaced_are_not_missed(chain: Chain) -> None:
    ledger = chain.open()
    ledger.write_engine_records([(b"v", b"next"), (b"a1", None), (b"a2", b"1"), (b"a2", None)], [])
    ledger.write_engine_records([(b"a1", None), (b"v", b"last")], [(b"checkpoint/4", b"again")])
    assert chain.reopen().engine_records() == [(b"v", b"last")]
    chain.ledger.write_engine_records([(b"v", None)], [(b"checkpoint/8", b"1"), (b"checkpoint/8", b"2")])
    assert chain.reopen().engine_records() == []
    assert chain.ledger.archive() == [(b"checkpoint/4", b"again"), (b"checkpoint/8", b"2")]


def test_a_rewritten_block_is_found_though_its_seal_holds(chain: Chain) -> None:
    def rewrite(stored: bytes) -> bytes:
        block = blocks.decode(stored[:-4])
        forged = Block(block.header, block.transactions[::-1], block.results, b"")
        return seal(Family.BLOCKS, height_key(Height(2)), encode(forged))

    change(chain.disk, Family.BLOCKS, height_key(Height(2)), rewrite)
    with pytest.raises(CorruptStore, match="corrupt at height 2: the transactions do not hash"):
        chain.open()


def test_a_block_above_the_head_is_found(chain: Chain) -> None:
    chain.open()
    head = chain.store.get(Family.META, HEAD_KEY)
    chain.run(put("z", "1"))
    chain.store.write([(Family.META, HEAD_KEY, head)])
    chain.store.sync()
    chain.disk.close()
    with pytest.raises(CorruptStore, match="the head is 5"):
        chain.open()


def test_a_store_of_another_chain_is_refused_in_one_line(chain: Chain) -> None:
    chain.genesis = genesis_of(name="another")
    with pytest.raises(OtherChain, match="the genesis makes chain") as refusal:
        chain.open()
    assert "\n" not in str(refusal.value)


def test_a_store_of_another_format_is_refused() -> None:
    disk = MemoryDisk()
    identity = encode(Identity(99, genesis_of().chain_id))
    disk.open().write([(Family.META, CHAIN_KEY, seal(Family.META, CHAIN_KEY, identity))])
    with pytest.raises(StoreError, match="format 99, this program reads format 2"):
        Chain(disk)


@pytest.mark.parametrize("family", list(Family))
def test_a_store_that_is_not_empty_and_says_not_whose_it_is_is_refused(family: Family) -> None:
    disk = MemoryDisk()
    disk.open().write([(family, b"something", b"there")])
    with pytest.raises(CorruptStore, match="does not say which chain"):
        Chain(disk)


def test_a_new_store_is_its_chains_at_once_even_after_a_crash() -> None:
    disk = MemoryDisk()
    Chain(disk)
    disk.open().crash()
    with pytest.raises(OtherChain):
        Chain(disk, genesis_of(name="another"))


class TestServedWhileRunning:
    """Damage that comes after the start is found when what is damaged is read."""

    @pytest.fixture
    def chain(self) -> Chain:
        chain = Chain(MemoryDisk())
        for number in range(4):
            chain.run(put("a", f"{number}"))
        return Chain(chain.disk, chain.genesis)

    def damage(self, chain: Chain, family: Family, key: bytes, at: int = 10) -> None:
        store = chain.store
        assert isinstance(store, MemoryKeyValue)
        value = store.get(family, key)
        assert value is not None
        store.write([(family, key, flip(at)(value))])

    def test_a_damaged_block_is_not_served(self, chain: Chain) -> None:
        self.damage(chain, Family.BLOCKS, height_key(Height(2)))
        for read in (
            lambda: chain.ledger.block(Height(2)),
            lambda: chain.ledger.header(Height(2)),
            lambda: chain.ledger.blocks_from(Height(1), Height(4), 10**9),
        ):
            with pytest.raises(CorruptStore, match="corrupt at height 2"):
                read()
        assert chain.ledger.block(Height(4)) is not None

    def test_a_damaged_certificate_is_not_served(self, chain: Chain) -> None:
        self.damage(chain, Family.CERTIFICATES, height_key(Height(2)), 3)
        for read in (
            lambda: chain.ledger.block(Height(2)),
            lambda: chain.ledger.certificate(Height(2)),
        ):
            with pytest.raises(CorruptStore, match="corrupt at height 2"):
                read()

    def test_a_damaged_index_stops_execution_instead_of_repeating(self, chain: Chain) -> None:
        parsed = chain.transaction(put("b", "1"))
        chain.execute([parsed])
        self.damage(chain, Family.INDEX, parsed.id)
        for use in (
            lambda: chain.execute([parsed]),
            lambda: chain.ledger.located([parsed.id]),
            lambda: chain.ledger.receipt_parts(parsed.id),
        ):
            with pytest.raises(CorruptStore, match="family index"):
                use()
        assert chain.ledger.height == 5

    def test_an_index_that_leads_to_another_transaction_is_not_followed(self, chain: Chain) -> None:
        here, there = chain.transaction(put("b", "1")), chain.transaction(put("b", "2"))
        chain.execute([here, there])
        other = chain.store.get(Family.INDEX, there.id)
        assert other is not None
        chain.store.write([(Family.INDEX, here.id, seal(Family.INDEX, here.id, other[:-4]))])
        with pytest.raises(CorruptStore, match="corrupt at height 5: the index leads to another place"):
            chain.ledger.receipt_parts(here.id)

    def test_a_damaged_value_is_not_served(self, chain: Chain) -> None:
        key, _ = next(iter(chain.store.scan(Family.STATE)))
        self.damage(chain, Family.STATE, key, -1)
        with pytest.raises(StoreError):
            chain.ledger.read(b"a")

    def test_engine_records_that_are_damaged_are_not_given_to_the_engine(self, chain: Chain) -> None:
        chain.ledger.write_engine_records([(b"v", b"a view of some length")], [])
        self.damage(chain, Family.VOTES, b"v")
        with pytest.raises(CorruptStore, match="family votes"):
            chain.ledger.engine_records()


def test_a_table_file_with_a_flipped_byte_is_refused_at_start(tmp_path: Path) -> None:
    disk = RocksDisk(tmp_path / "store")
    chain = Chain(disk)
    for number in range(30):
        chain.run(*(put(f"key {number} {position}", "x" * 50) for position in range(20)))
    chain.ledger.write_engine_records([(b"v", bytes(500))], [])
    chain.ledger.sync()
    disk.close()
    tables = sorted((tmp_path / "store").glob("*.sst"))
    assert len(tables) == len(Family) - 1  # nothing was archived
    for table in tables:
        whole = table.read_bytes()
        table.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
        with pytest.raises(CorruptStore):
            chain.open()
        disk.close()
        table.write_bytes(whole)
    chain.open()
    disk.close()
