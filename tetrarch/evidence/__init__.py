"""Evidence of misbehaviour: two signed statements of one member that no correct member makes both of.

`Evidence` is one piece, with its file, verified with a genesis alone; `find_evidence` looks for pieces in the
stores of several replicas, `convicted` tells only whom they convict, and `search` also what could not be
read. Stores are anything with `get` and `scan` (`ledger.audit.reader.AuditedStore`): opened directories as
well as a simulation's memory. Which statements contradict each other is the engine's to say
(`tetrarch.engines`; for PBFT, with reasons, `pbft/contradictions.py`).

Nobody can forge another's signature: a piece convicts its member whoever found it, and in whosever store.
"""

from tetrarch.evidence.piece import Evidence, Verified
from tetrarch.evidence.search import Discovery, Piece, convicted, find_evidence, search

__all__ = ["Discovery", "Evidence", "Piece", "Verified", "convicted", "find_evidence", "search"]
