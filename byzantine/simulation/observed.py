"""What is noted while a simulated world runs.

What lives here: the notes. What must not be known here: who takes them, and whether any of it is right.
"""

from collections import Counter

from byzantine.culprits import Deeds
from byzantine.oracles.observation import Denial
from byzantine.simulation.application_faults import ApplicationFaults
from crypto.digest import Digest


class Observed:
    """What was noted while a world ran, for the oracles to judge."""

    def __init__(self) -> None:
        self.hashes: dict[int, tuple[Digest, int]] = {}
        """The block hash at each height, as the first honest replica executed it."""
        self.forks: list[str] = []
        """Blocks that honest replicas executed beside another one at the same height."""
        self.misconduct: list[str] = []
        """What honest members said that no correct one says."""
        self.denials: set[Denial] = set()
        """What honest members told clients that was not, or never would be, executed."""
        self.missing: list[str] = []
        """What the archives of honest replicas lack at the end, though it must outlive the log."""
        self.stopped: list[str] = []
        """Honest replicas with whole disks that stopped by themselves."""
        self.evidence: dict[int, set[str]] = {}
        """Members against whom honest replicas hold proof, and of what."""
        self.refused: Counter[str] = Counter()
        """What honest replicas and clients dropped, by reason; as of the last `collect`."""
        self.fired: Counter[str] = Counter()
        self.deeds = Deeds()
        """Who fired which of these, and how often."""
        self.highest_view = 0
        self.believed_blocks: dict[int, set[bytes]] = {}
        """Blocks that a client saw attested by f+1, by height."""
        self.halted: list[str] = []
        """Honest replicas that halted, or are marked at the end, without a reason of their own."""
        self.halted_liars: dict[int, str] = {}
        """Liars that had halted at the end, and why."""
        self.overfull: dict[tuple[str, int], str] = {}
        """What was seen to be beyond its bound at an honest replica, by what it is and the member."""
        self.halted_before: list[str] = []
        """Honest replicas that had halted without a reason of their own when their processes ended."""
        self.lost: list[str] = []
        """What went wrong with the test itself."""
        self.application_faults = ApplicationFaults()
        """What the application raised at honest replicas, and should not."""
        self.closed_clients = 0
        self.level_at_end: bool | None = None
        """Whether honest replicas stood at one block when faults ended."""
        self.healed_us: int | None = None
        self.converged_us: int | None = None
