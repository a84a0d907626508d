"""What became of transactions, as rows of JSON and as lines for people."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tetrarch.cli.output import NOT_RUNNING, Exit

if TYPE_CHECKING:
    from tetrarch.client.outcome import Outcome
    from tetrarch.journal import LineOutcome

Row = dict[str, Any]


def outcome_row(line: int, outcome: "Outcome") -> Row:
    """Return one row: `line`, `tx_id`, `outcome`, `height`, and `result` or `code` and `reason`."""
    # All zero where nothing was signed: a payload or key that cannot be.
    tx_id = outcome.tx_id.hex() if any(outcome.tx_id) else None
    row: Row = {"line": line, "tx_id": tx_id, "outcome": outcome.status}
    if outcome.height:
        row["height"] = outcome.height
    result = outcome.result
    if result is not None and result.code.value == "ok":
        row["result"] = _value(result.value)
    elif result is not None:
        row |= {"code": result.code.value, "reason": result.reason}
    elif outcome.error is not None:
        row |= {"code": error_code(outcome.error), "reason": str(outcome.error)}
        row["reason"] = getattr(outcome.error, "reason", "") or row["reason"]
    elif outcome.status == "committed":
        # Known from an earlier run: the outbox keeps what became of it, not the result.
        row |= {"result": None, "remembered": True}
    return row


def line_row(line: "LineOutcome") -> Row:
    """Return the row of a line of a file, which may never have become a transaction."""
    if line.outcome is None:
        return {
            "line": line.line,
            "tx_id": None,
            "outcome": "refused",
            "code": "malformed",
            "reason": line.fault,
        }
    return outcome_row(line.line, line.outcome)


def error_code(error: Exception) -> str:
    """Return a word for an error, as `unreachable`."""
    from tetrarch.errors import Expired, IdempotencyConflict, Rejected, Unreachable

    if isinstance(error, Rejected):
        return error.code
    words = {IdempotencyConflict: "key_conflict", Expired: "expired", Unreachable: "unreachable"}
    return next((word for kind, word in words.items() if isinstance(error, kind)), "unknown")


def kind_of(row: Row) -> str:
    """Return what a row counts as: `executed`, `failed` (executed, and refused by the application),
    `refused`, `expired`, `unknown`, `unreachable`."""
    if row["outcome"] == "committed":
        return "failed" if "code" in row else "executed"
    if row["outcome"] == "unknown" and row.get("code") == "unreachable":
        return "unreachable"
    return str(row["outcome"])


def verdict(kinds: Iterable[str]) -> Exit:
    """Return the exit code for what all rows count as."""
    found = set(kinds)
    if "unreachable" in found and not found & {"executed", "failed"}:
        return Exit.UNREACHABLE
    if found & {"unknown", "unreachable"}:
        return Exit.INCOMPLETE
    return Exit.FAILED if found & {"failed", "refused", "expired"} else Exit.FINE


def describe(row: Row) -> str:
    """Return a row as a line for people."""
    tx_id = row["tx_id"] or ""
    kind = kind_of(row)
    if kind == "executed":
        result = "" if row.get("result") is None else f", result {json.dumps(row['result'])}"
        return f"executed at height {row['height']}{result}\n  {tx_id}"
    if kind == "failed":
        return f"refused by the application at height {row['height']}: {row['reason']}\n  {tx_id}"
    code = "" if row.get("code") == kind else f" ({row.get('code')})"
    return f"{kind}{code}: {row.get('reason')}\n  {tx_id}".rstrip()


def advice(row: Row, keyed: bool) -> str:
    """Return what can be done about one transaction whose outcome is not known; empty where it is.

    `keyed`: it has an idempotency key.
    """
    kind = kind_of(row)
    if kind == "unreachable":
        return NOT_RUNNING
    if kind != "unknown":
        return ""
    if keyed:
        return "The same command again asks for its outcome, and executes it once at most."
    return f"It may still be executed: `tetrarch tx get DIR {row['tx_id']}` tells what became of it."


def _value(value: bytes) -> Any:
    """A result's value: JSON from the shipped applications, otherwise hex."""
    try:
        return json.loads(value) if value else None
    except ValueError:
        return value.hex()
