"""A client in the simulated world that believes what a real one would, and keeps what it was told."""

from crypto.attestation import attested
from crypto.batch import TxId
from crypto.errors import CryptoError
from crypto.signed import envelope_check
from tests.simulation.world import Client, World
from tetrarch.client.proof import ReplicaFault, check_results
from tetrarch.trust import TrustRoot
from tetrarch.wire import (
    Attested,
    Results,
)


class CheckingClient(Client):
    """Believes what a real client does, and keeps with each result by what block hash."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.trust = TrustRoot.of(world.genesis)
        self.results: dict[tuple[int, bytes], dict[TxId, bytes]] = {}
        self.told: dict[TxId, bytes] = {}
        """What it was told of each transaction when it believed."""
        self.refused = 0

    def deliver(self, member, frame: bytes) -> None:
        message = self.frames.decode(frame)
        if not isinstance(message, Results | Attested):
            return
        try:
            check = envelope_check(self.world.roster, message.attestation)
            if message.attestation.signer != member or self.world.checker.check([check]) != [True]:
                raise ReplicaFault("signature", "")
            if isinstance(message, Results):
                check_results(self.trust, message)
        except (CryptoError, ReplicaFault):
            self.refused += 1
            return
        said = attested(message.attestation)
        key = (int(said.height), bytes(said.block_hash))
        if isinstance(message, Results):
            entries = {entry.tx_id: entry.result for entry in message.entries}
            self.results.setdefault(key, {}).update(entries)
        super().deliver(member, frame)
        if len(self.attested[key]) >= self.world.weak:
            self.told |= self.results.pop(key, {})
