"""Oracles over what clients were told: linearizable histories, and verified reads that are true.

What lives here: turning operations into a history. What must not be known here: chains, but for the order
that a committed operation stands in, which is a hint and never a proof.
"""

from msgspec.json import Decoder

from byzantine.history import Kind, Outcome
from byzantine.history import Operation as Step
from byzantine.linearizability import check
from byzantine.oracles.model import KeyValueModel
from byzantine.oracles.observation import Observation, Operation
from byzantine.verdicts import Finding, Verdict
from ledger.application import canonical_json
from ledger.result import ResultCode, results
from ledger.transaction import parse_transaction

_values = Decoder(str | bool | None)

HEIGHT_STEP = 1_000_000
"""Between the hints of two blocks: more than a block has transactions."""


def linearizability(seen: Observation) -> Finding | None:
    """The operations of all clients could have happened one after another, each between its call and its
    return. Histories of `kv` alone are understood."""
    if seen.genesis.application != "kv":
        return None
    return check([_step(operation) for operation in seen.operations if operation.payload]).finding()


def _step(operation: Operation) -> Step:
    payload = operation.payload
    outcome, result, returned = Outcome.UNKNOWN, None, None
    if operation.outcome == "committed" and operation.result is not None:
        said = results.decode(operation.result)
        outcome, returned = Outcome.ANSWERED, operation.returned_us
        result = _values.decode(said.value) if said.code is ResultCode.OK else False
    elif operation.outcome:
        outcome, returned = Outcome.WITHOUT_EFFECT, operation.returned_us
    return Step(
        client=f"client-{operation.client}",
        key=payload["key"] or "",
        kind=Kind(payload["op"] or ""),
        invoked_us=operation.invoked_us,
        returned_us=returned,
        outcome=outcome,
        result=result,
        value=payload.get("value"),
        expected=payload.get("expected"),
        order=operation.height * HEIGHT_STEP + operation.position if operation.height else None,
    )


def reads(seen: Observation) -> Finding | None:
    """A verified read shows what the chain holds at its height, and an answer what it holds at some height;
    neither is of an older height than was asked for. For `kv` alone."""
    if seen.genesis.application != "kv":
        return None
    if not seen.reads and not seen.answers:
        return Finding("reads", Verdict.PASS)
    chain = max(seen.chains.values(), key=lambda each: each.height, default=None)
    if chain is None:
        return Finding("reads", Verdict.INCONCLUSIVE, "there is nothing to compare with")
    model = KeyValueModel()
    states: list[dict[str, str]] = [{}]
    for height in range(1, chain.height + 1):
        block = chain.block(height)
        for raw, result in zip(block.transactions, block.results, strict=True):
            parsed = parse_transaction(raw, seen.genesis.chain_id, len(raw))
            model.apply(parsed, results.decode(result), height, block.header.time)
        states.append(dict(model.state))
    for read in seen.reads:
        if read.height < read.min_height:
            return Finding(
                "reads", Verdict.FAIL, f"a read of height {read.height}, asked from {read.min_height}"
            )
        if read.height >= len(states):
            return Finding(
                "reads", Verdict.FAIL, f"a read of height {read.height}, which no honest chain has"
            )
        value = states[read.height].get(read.key)
        if read.value != (None if value is None else canonical_json(value)):
            return Finding("reads", Verdict.FAIL, f"{read.key} read wrongly at height {read.height}")
    for said in seen.answers:
        known = {_as_read(state.get(said.key)) for state in states[said.min_height :]}
        if said.answer not in known:
            what = f"{said.key} answered with what it never was from height {said.min_height} on"
            return Finding("reads", Verdict.FAIL, what)
    return Finding("reads", Verdict.PASS)


def _as_read(value: str | None) -> bytes:
    return b"null" if value is None else canonical_json(value)
