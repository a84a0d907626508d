"""The PBFT engine (Castro and Liskov, OSDI 1999, with signatures), behind `consensus.contract`.

Pure: no sockets, disks, clocks or global randomness. `Pbft` is the engine, `Door` verifies what comes
from outside, `CommitVerifier` judges the certificates that lie beside stored blocks, and `RecordsJudge`
what else is stored.
"""

from pbft.certificates import CommitVerifier
from pbft.door import Door
from pbft.judge import RecordsJudge
from pbft.limits import Limits, Tuning
from pbft.replica import Pbft

__all__ = ["CommitVerifier", "Door", "Limits", "Pbft", "RecordsJudge", "Tuning"]
