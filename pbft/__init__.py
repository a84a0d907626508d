"""The PBFT engine (Castro and Liskov, OSDI 1999, with signatures), behind `consensus.contract`.

Pure: no sockets, disks, clocks or global randomness. `Pbft` is the engine, `Door` verifies what comes
from outside, `CommitVerifier` judges the certificates that lie beside stored blocks, `RecordsJudge` what
else is stored, `PbftEvidence` finds out who contradicts itself there; `largest_new_view` says which numbers
are too large for any view to change.

To be read beside the paper, in this order:

| module | what of PBFT is there |
|---|---|
| `messages` | all that is signed |
| `state` | what a replica knows |
| `normal_case`, `batches` | pre-prepare, prepare, commit, delivery (4.2); the bodies behind digests |
| `checkpoints` | stability, and cutting the log (4.3) |
| `view_change`, `new_view` | leaving a view and entering the next (4.4); what VIEW-CHANGEs imply |
| `timing` | when to suspect a primary |
| `synchronize` | resending and fetching, which the paper mentions and leaves open |
| `records`, `restart` | what is durable, and how a replica comes back |
| `contradictions` | which two statements convict their member |
| `statements`, `search` | finding such statements in what was stored |
| `replica` | all of it behind the contract |
| `milestones` | what its messages and records tell whoever watches it |

"Section" means the paper's; "rule" one of those numbered in docs/protocol.md, to which
tests/pbft/test_checklist.py holds the engine.
"""

from pbft.certificates import CommitVerifier
from pbft.door import Door
from pbft.judge import RecordsJudge
from pbft.limits import Limits, Tuning
from pbft.milestones import PbftMilestones
from pbft.replica import Pbft
from pbft.search import PbftEvidence
from pbft.sizes import largest_new_view

__all__ = [
    "CommitVerifier",
    "Door",
    "Limits",
    "Pbft",
    "PbftEvidence",
    "PbftMilestones",
    "RecordsJudge",
    "Tuning",
    "largest_new_view",
]
