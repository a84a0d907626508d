"""Oracles over chains: agreement, validity, integrity, durability.

What lives here: what any two honest chains, and each of them alone, must satisfy. The state machine is
computed anew by a model of its own (`model`). What must not be known here: consensus.
"""

from collections.abc import Collection, Sequence

from byzantine.oracles.model import Model, make_model
from byzantine.oracles.observation import Chain, Observation
from byzantine.oracles.reexecution import first_difference
from byzantine.verdicts import Finding, Verdict
from crypto import merkle
from crypto.batch import TxId, batch_digest, transaction_root
from crypto.digest import Digest
from ledger.block import Block, block_hash, result_leaf
from ledger.errors import ApplicationError
from ledger.result import ResultCode, results
from ledger.transaction import ParsedTransaction, parse_transaction, transaction_id


def agreement(seen: Observation) -> Finding:
    """No two honest replicas ever hold different blocks at one height, and no client is shown another."""
    if seen.forks:
        return Finding("agreement", Verdict.FAIL, seen.forks[0])
    best = _longest(seen)
    if best is None:
        return Finding("agreement", Verdict.INCONCLUSIVE, "no honest chain could be read")
    for member, chain in seen.chains.items():
        height = _first_difference(chain, best)
        if height is not None:
            return Finding("agreement", Verdict.FAIL, f"block {height} at member {member} is another one")
    for height, hashes in seen.believed_blocks.items():
        if height <= best.height and hashes != {bytes(best.block_hash(height))}:
            return Finding(
                "agreement", Verdict.FAIL, f"a client was shown another block {height} by f+1 members"
            )
        if len(hashes) > 1:
            return Finding("agreement", Verdict.FAIL, f"a client was shown two blocks at height {height}")
    return Finding("agreement", Verdict.PASS)


def _longest(seen: Observation) -> Chain | None:
    return max(seen.chains.values(), key=lambda chain: chain.height, default=None)


def _first_difference(chain: Chain, best: Chain) -> int | None:
    """Chains are linked: equal hashes at the lower head mean that all below is equal."""
    height = chain.height
    if height == 0 or chain is best or chain.block_hash(height) == best.block_hash(height):
        return None
    while height > 1 and chain.block_hash(height - 1) != best.block_hash(height - 1):
        height -= 1
    return height


def validity(seen: Observation) -> Finding:
    """Every block is linked and its hash right, its time grows, its transactions were sent and signed, and
    its results and its state are what the application gives, by a model of it or by executing every block
    anew; and the audit of each store agrees."""
    if seen.audit_faults:
        return Finding("validity", Verdict.FAIL, f"the audit of {seen.audit_faults[0]}")
    chain = _longest(seen)
    if chain is None:
        return Finding("validity", Verdict.INCONCLUSIVE, "no honest chain could be read")
    known = {operation.tx_id for operation in seen.operations} | seen.sent_by_liars
    model = make_model(seen.genesis.application)
    parent, time = seen.genesis.first_parent(), 0
    for height in range(1, chain.height + 1):
        block = chain.block(height)
        wrong = _unlinked(block, height, chain.block_hash(height), parent, time)
        parsed = [parse_transaction(raw, seen.genesis.chain_id, len(raw)) for raw in block.transactions]
        wrong = wrong or _unsent(seen, block, parsed, known) or _miscomputed(block, parsed, model)
        if wrong is not None:
            return Finding("validity", Verdict.FAIL, f"block {height}{wrong}")
        parent, time = chain.block_hash(height), block.header.time
    if model is None:
        return _executed_anew(seen, chain)
    return Finding("validity", Verdict.PASS)


def _unlinked(block: Block, height: int, known_as: Digest, parent: Digest, time: int) -> str | None:
    """Return what is wrong with a block's place in the chain: in words that follow its height."""
    header = block.header
    if header.height != height or header.parent != parent or block_hash(header) != known_as:
        return " is not linked to the one below"
    if header.time <= time or header.time < header.proposed:
        return "'s time does not grow"
    return None


def _unsent(
    seen: Observation, block: Block, parsed: Sequence[ParsedTransaction], known: Collection[TxId]
) -> str | None:
    if (wrong := _uncommitted(seen, block, [each.id for each in parsed])) is not None:
        return f"'s header names another {wrong}"
    if not all(seen.check([each.check for each in parsed])):
        return " holds what its sender did not sign"
    if any(each.id not in known for each in parsed):
        return " holds a transaction that nobody sent"
    return None


def _miscomputed(block: Block, parsed: Sequence[ParsedTransaction], model: Model | None) -> str | None:
    if model is None:
        return None
    header = block.header
    for each, result in zip(parsed, block.results, strict=True):
        wrong = model.apply(each, results.decode(result), header.height, header.time)
        if wrong is not None:
            return f", {each.id.hex()[:12]}: {wrong}"
    return None if header.state_root == model.root() else "'s header names another state"


def _uncommitted(seen: Observation, block: Block, ids: list[TxId]) -> str | None:
    """Return which of the header's commitments is not what the block holds, if any."""
    header, root = block.header, transaction_root(ids)
    leaves = [result_leaf(each, result) for each, result in zip(ids, block.results, strict=True)]
    right = {
        "transaction root": (header.transaction_root, root),
        "batch": (header.batch, batch_digest(seen.genesis.chain_id, header.height, header.proposed, root)),
        "result root": (header.result_root, merkle.root(leaves)),
    }
    return next((what for what, (said, computed) in right.items() if said != computed), None)


def _executed_anew(seen: Observation, chain: Chain) -> Finding:
    heights = range(1, chain.height + 1)
    try:
        wrong = first_difference(seen.genesis, ((chain.block(at), chain.block_hash(at)) for at in heights))
    except ApplicationError as error:
        return Finding("validity", Verdict.INCONCLUSIVE, str(error))
    return Finding("validity", Verdict.PASS if wrong is None else Verdict.FAIL, wrong or "")


def integrity(seen: Observation) -> Finding:
    """A transaction is executed once at most, and never after its valid_until."""
    chain = _longest(seen)
    if chain is None:
        return Finding("integrity", Verdict.INCONCLUSIVE, "no honest chain could be read")
    executed: dict[bytes, int] = {}
    for height in range(1, chain.height + 1):
        block = chain.block(height)
        for raw, result in zip(block.transactions, block.results, strict=True):
            tx_id, decoded = transaction_id(raw), results.decode(result)
            if decoded.executed:
                if tx_id in executed:
                    what = f"{tx_id.hex()[:12]} was executed at {executed[tx_id]} and at {height}"
                    return Finding("integrity", Verdict.FAIL, what)
                executed[tx_id] = height
                until = parse_transaction(raw, seen.genesis.chain_id, len(raw)).transaction.valid_until
                if until < block.header.time:
                    return Finding(
                        "integrity", Verdict.FAIL, f"{tx_id.hex()[:12]} was executed after its time"
                    )
            elif decoded.code is ResultCode.REPEATED and executed.get(tx_id) != decoded.first_height:
                what = f"{tx_id.hex()[:12]} is called a repeat of block {decoded.first_height}"
                return Finding("integrity", Verdict.FAIL, what)
    return Finding("integrity", Verdict.PASS)


def executed_at(chain: Chain) -> dict[bytes, int]:
    """Return the height at which each transaction of a chain was executed, by its id."""
    found: dict[bytes, int] = {}
    for height in range(1, chain.height + 1):
        block = chain.block(height)
        for raw, result in zip(block.transactions, block.results, strict=True):
            if results.decode(result).executed:
                found.setdefault(transaction_id(raw), height)
    return found


def durability(seen: Observation) -> Finding:
    """Whatever a client believes committed is in every honest chain that reaches so far, with that result;
    and what it believes expired or refused is in none."""
    short = 0
    for member, chain in seen.chains.items():
        found: dict[bytes, tuple[int, bytes]] = {}
        for height in range(1, chain.height + 1):
            block = chain.block(height)
            for raw, result in zip(block.transactions, block.results, strict=True):
                found.setdefault(transaction_id(raw), (height, result))
        for operation in seen.operations:
            held = found.get(operation.tx_id)
            name = operation.tx_id.hex()[:12]
            if operation.outcome == "committed":
                if held is None and operation.height > chain.height:
                    short += 1
                elif held is None or held[1] != operation.result:
                    what = "lost" if held is None else "holds with another result"
                    return Finding("durability", Verdict.FAIL, f"member {member} {what} acknowledged {name}")
            elif operation.outcome and held is not None and results.decode(held[1]).executed:
                what = f"{name} was executed, though its client was told that it is {operation.outcome}"
                return Finding("durability", Verdict.FAIL, what)
    if not seen.chains or short:
        return Finding("durability", Verdict.INCONCLUSIVE, "a chain is too short to say")
    return Finding("durability", Verdict.PASS)
