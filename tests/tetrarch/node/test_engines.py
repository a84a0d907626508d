"""The engine that a genesis names is found, or the error says what there is."""

import pytest
from msgspec import structs

from consensus.quorum import Quorums
from tests.tetrarch.node.support import make_genesis
from tetrarch.engines import UnusableGenesis, ordering


def test_a_genesis_gets_the_engine_it_names_with_its_acceptance() -> None:
    for n in (1, 4, 5, 6, 7):
        genesis = make_genesis(n)
        assert ordering(genesis, genesis.roster()).acceptance == Quorums.byzantine(n).weak


def test_an_unknown_engine_is_named_with_those_there_are() -> None:
    genesis = make_genesis(4)
    fields = {name: getattr(genesis, name) for name in genesis.__struct_fields__}
    other = type(genesis)(**{**fields, "engine": "raft"})
    with pytest.raises(UnusableGenesis, match=r"'raft'.*pbft"):
        ordering(other, other.roster())


def test_a_genesis_whose_views_could_never_change_is_refused() -> None:
    genesis = structs.replace(make_genesis(7), checkpoint_interval=64)
    assert ordering(genesis, genesis.roster()).acceptance == 3
    large = structs.replace(genesis, checkpoint_interval=100_000)
    with pytest.raises(UnusableGenesis, match=r"NEW-VIEW.*shorter interval"):
        ordering(large, large.roster())
