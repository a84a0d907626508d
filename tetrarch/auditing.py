"""Joins an audit with what it needs of this package: the stores that a path means, and an engine's verifiers.

What lives here: finding stores, running the audits of several, one after the other, and reading several side
by side. What must not be known here: how an audit is done (`ledger.audit`), how evidence is found
(`tetrarch.evidence`), and how either is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from crypto.attestation import Height
from ledger.audit.audit import Options, audit_path
from ledger.audit.compare import Comparison, compare
from ledger.audit.reader import AuditedStore, StoreChanged, holds_store, open_for_audit
from ledger.audit.report import Fault, Report, Verdict
from ledger.errors import ApplicationError, StoreError
from ledger.genesis import Genesis
from ledger.jsonfile import FileFault
from tetrarch.engines import UnusableGenesis, ordering
from tetrarch.errors import ConfigurationError
from tetrarch.evidence.search import Discovery, convicted, search
from tetrarch.genesis_file import load_genesis
from tetrarch.layout import NODE_FILE, STORE

T = TypeVar("T")

COMPARE_ATTEMPTS: Final = 5
"""A running replica merges its files now and then, seldom twice within one comparison."""


def stores_of(paths: Sequence[Path]) -> list[Path]:
    """Return the stores that paths mean: stores themselves, replicas' directories, or whole networks.

    Raises `ConfigurationError` for a path that means none, and for a network in which a replica has none:
    what was not audited must not go unnoticed.
    """
    found: list[Path] = []
    for path in paths:
        try:
            found += [store for store in _stores_in(path) if store not in found]
        except StoreError as error:
            raise ConfigurationError(path, "", str(error)) from None
    return found


def _stores_in(path: Path) -> list[Path]:
    stores = [candidate for candidate in (path, path / STORE) if holds_store(candidate)]
    replicas = sorted(file.parent for file in path.glob(f"*/{NODE_FILE}")) if path.is_dir() else []
    in_network = [replica / STORE for replica in replicas if holds_store(replica / STORE)]
    if in_network and len(in_network) < len(replicas):
        without = next(replica for replica in replicas if replica / STORE not in in_network)
        what = "holds no store: give the paths of those that are to be audited"
        raise ConfigurationError(without, "", what)
    if not (stores or in_network):
        raise ConfigurationError(
            path, "", "holds no store" if path.exists() else "there is no such directory"
        )
    return stores + in_network


def audit_store(
    store: Path, genesis: Genesis, options: Options | None = None, resume: Path | None = None
) -> Report:
    """Audit one store, at level full unless `options` say otherwise.

    Raises `ConfigurationError`: no store there, a genesis that cannot be used, a resume file that is none.
    """
    options = replace(options or Options(), name=str(store))
    try:
        parts = ordering(genesis, genesis.roster())
        return audit_path(store, genesis, parts.verifier, parts.records, options, resume)
    except FileFault as fault:
        raise ConfigurationError(fault.path, fault.key, fault.what) from None
    except StoreError as error:
        raise ConfigurationError(store, "", str(error)) from None
    except (UnusableGenesis, ApplicationError) as error:
        raise ConfigurationError(store, "genesis", str(error)) from None


def audit_stores(
    paths: Sequence[Path],
    genesis_path: Path,
    options: Options,
    resume: Path | None = None,
    begin: Callable[[Path], None] | None = None,
) -> list[Report]:
    """Audit every store that `paths` mean; `begin` is told before each. Raises `ConfigurationError`."""
    genesis = load_genesis(genesis_path)
    stores = stores_of(paths)
    if resume is not None and len(stores) > 1:
        raise ConfigurationError(resume, "", f"a resume file is for one store, and {len(stores)} are audited")
    reports = []
    for store in stores:
        if begin is not None:
            begin(store)
        reports.append(audit_store(store, genesis, options, resume))
    return reports


def compare_stores(paths: Sequence[Path], genesis_path: Path) -> Comparison:
    """Compare the chains in all stores that `paths` mean: the same block at every height, or who lied.

    Raises `ConfigurationError`: fewer than two stores, or one that cannot be opened at all.
    """
    genesis = load_genesis(genesis_path)

    def work(stores: Mapping[str, AuditedStore], _faults: Sequence[Fault]) -> Comparison:
        parts = ordering(genesis, genesis.roster())
        compared = compare(stores, genesis, parts.verifier, parts.records)
        blamed = {*compared.blamed, *convicted(stores, genesis)}
        return replace(compared, blamed=tuple(sorted(blamed)))

    return _side_by_side(require_two(paths), work, "compared")


def search_stores(
    paths: Sequence[Path], genesis_path: Path, progress: Callable[[Height], None] | None = None
) -> Discovery:
    """Look for evidence in all stores that `paths` mean, and across them.

    What cannot be read is among the faults. `progress` is told the height reached. Raises
    `ConfigurationError`.
    """
    genesis = load_genesis(genesis_path)

    def work(stores: Mapping[str, AuditedStore], faults: Sequence[Fault]) -> Discovery:
        found = search(stores, genesis, progress=progress)
        return replace(found, faults=(*faults, *found.faults))

    return _side_by_side(stores_of(paths), work, "searched")


def _side_by_side(
    paths: Sequence[Path], work: Callable[[Mapping[str, AuditedStore], Sequence[Fault]], T], done: str
) -> T:
    """Do `work` with all stores opened together, by name, and the faults of their files.

    It is done anew where a running replica replaced a file meanwhile. A store that cannot be opened is left
    out.
    """
    for _ in range(COMPARE_ATTEMPTS):
        try:
            with ExitStack() as opened:
                readable: dict[str, AuditedStore] = {}
                faults: list[Fault] = []
                for path in paths:
                    found = opened.enter_context(open_for_audit(path, str(path)))
                    faults += found.faults
                    if found.store is not None:
                        readable[str(path)] = found.store
                return work(readable, faults)
        except StoreChanged:
            continue
        except (StoreError, UnusableGenesis) as error:
            raise ConfigurationError(paths[0], "", str(error)) from None
    what = "files are missing, or change all the time: stop the replicas first"
    raise ConfigurationError(paths[0], "", f"cannot be {done}: {what}")


def require_two(paths: Sequence[Path]) -> list[Path]:
    """Return the stores that `paths` mean. Raises `ConfigurationError` where there are not two to compare."""
    stores = stores_of(paths)
    if len(stores) < 2:
        raise ConfigurationError(stores[0], "", "is a single store: comparing takes two")
    return stores


def worst(reports: Sequence[Report]) -> Verdict:
    """Return what several audits come to together."""
    verdicts = {report.verdict for report in reports}
    for verdict in (Verdict.INVALID, Verdict.INCOMPLETE):
        if verdict in verdicts:
            return verdict
    return Verdict.VALID
