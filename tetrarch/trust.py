"""The trust root: all that a verifier must believe beforehand, taken from a genesis.

What lives here: the chain's identity, its members' keys, and how many of them are enough. What must not be
known here: networks, stores, and anything that could be learnt from a replica.
"""

from dataclasses import dataclass
from pathlib import Path

from consensus.quorum import Quorums
from crypto.digest import ChainId
from crypto.errors import KeyRefused
from crypto.roster import Roster
from ledger.genesis import Genesis
from tetrarch.errors import ConfigurationError
from tetrarch.genesis_file import load_genesis


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """Whom to believe, and from how many on.

    It is as good as the way the genesis came by: whoever takes it from an attacker believes the attacker.
    """

    genesis: Genesis
    roster: Roster
    acceptance: int
    """Distinct members whose matching word is believed: f + 1, of whom one at least is correct."""
    quorum: int
    """Distinct members of a quorum: what a stable checkpoint has, and `verify(quorum=True)` asks for."""

    @classmethod
    def of(cls, genesis: Genesis) -> "TrustRoot":
        """Return the trust root of `genesis`. Raises `KeyRefused` for keys that may not be registered."""
        roster = genesis.roster()
        quorums = Quorums.byzantine(roster.n)
        return cls(genesis, roster, quorums.weak, quorums.quorum)

    @classmethod
    def load(cls, path: str | Path) -> "TrustRoot":
        """Return the trust root in a genesis.json. Raises `ConfigurationError`, naming file and key."""
        genesis = load_genesis(path)
        try:
            return cls.of(genesis)
        except KeyRefused as error:
            raise ConfigurationError(Path(path), "members", str(error)) from None

    @property
    def chain_id(self) -> ChainId:
        """The digest of the genesis."""
        return self.roster.chain_id
