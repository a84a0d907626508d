"""Makes journal.jsonl: a small bank's day for the application `assets`, always the same bytes.

    python examples/make_journal.py > examples/journal.jsonl

Accounts are opened, filled, and transfer to each other. Some transfers overdraw; some lines repeat an
earlier one under the same idempotency key, some use a taken key for something else; and some lines are
broken, in every way that came to mind.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping

SEED = 1999
ACCOUNTS = 60
OPENING_BALANCE = 10_000
TRANSFERS = 3_000
OVERDRAFT_EVERY = 41
REPEAT_EVERY = 97
CONFLICT_EVERY = 499
BROKEN_EVERY = 173

BROKEN = (
    '{"op": "transfer", "from": "acct-00", "to": "acct-01", "amount": 5',
    '{"op": "transfer", "from": "acct-00", "to": "acct-01", "amount": -5}',
    '{"op": "transfer", "from": "acct-00", "to": "acct-01", "amount": "5"}',
    '{"op": "transfer", "from": "acct-00", "to": "acct-01", "amount": 0.5}',
    '{"op": "transfer", "from": "acct-00", "to": "acct-01"}',
    '{"op": "transfer", "from": "acct-00", "to": "acct-00", "amount": 5}',
    '{"op": "transfer", "from": "acct-00", "to": "acct-01", "amount": 5, "amount": 6}',
    '{"op": "steal", "from": "acct-00", "to": "acct-01", "amount": 5}',
    '{"op": "transfer", "from": "acct-00", "to": "acct-01", "amount": 5, "note": "unknown field"}',
    '["transfer", "acct-00", "acct-01", 5]',
    "transfer 5 from acct-00 to acct-01",
    '{"key": "", "payload": {"op": "open", "account": "nobody"}}',
    '{"key": "k", "payload": {"op": "open", "account": "nobody"}, "priority": 1}',
    "null",
    '{"op": "open", "account": "a name with spaces"}',
    '{"op": "issue", "account": "acct-00", "amount": NaN}',
)
"""Lines that no ledger may execute."""


def account(number: int) -> str:
    """Return an account's name."""
    return f"acct-{number:02}"


def lines() -> Iterator[str]:
    """Yield the journal's lines."""
    for number in range(ACCOUNTS):
        yield _line({"op": "open", "account": account(number)})
    for number in range(ACCOUNTS):
        yield _line({"op": "issue", "account": account(number), "amount": OPENING_BALANCE})
    yield from _transfers(random.Random(SEED))


def _transfers(choose: random.Random) -> Iterator[str]:
    keyed: list[tuple[str, str, str, int]] = []
    broken = iter(BROKEN * (1 + TRANSFERS // BROKEN_EVERY))
    for number in range(1, TRANSFERS + 1):
        source, target = map(account, choose.sample(range(ACCOUNTS), 2))
        amount = choose.randint(1, 60)
        if number % OVERDRAFT_EVERY == 0:
            amount = 100 * OPENING_BALANCE
        transfer = _transfer(source, target, amount)
        if number % 10 == 0:
            keyed.append((f"order-{number}", source, target, amount))
            yield _line({"key": f"order-{number}", "payload": transfer})
        else:
            yield _line(transfer)
        if number % REPEAT_EVERY == 0:
            key, source, target, amount = choose.choice(keyed)
            yield _line({"key": key, "payload": _transfer(source, target, amount)})
        if number % CONFLICT_EVERY == 0:
            key, source, target, amount = choose.choice(keyed)
            yield _line({"key": key, "payload": _transfer(source, target, amount + 1)})
        if number % BROKEN_EVERY == 0:
            yield next(broken)


def _transfer(source: str, target: str, amount: int) -> dict[str, object]:
    return {"op": "transfer", "from": source, "to": target, "amount": amount}


def _line(value: Mapping[str, object]) -> str:
    return json.dumps(value)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
