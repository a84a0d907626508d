"""`assets`: accounts of one asset, in whole units. Operations, in JSON, one per transaction:

| operation | fields | value of the result | refused when |
|---|---|---|---|
| `open` | `account` | the account | it is open already |
| `issue` | `account`, `amount` | its balance | not open; the sender may not issue; balance too large |
| `transfer` | `from`, `to`, `amount` | both balances | not open; not the sender's; overdraft; too large |

An account belongs to the key that opened it, and only that key may transfer out of it. Who may issue is the
genesis' parameter `issuers`: public keys in hexadecimal, separated by commas; without it anybody may. In the
state an account is `account/NAME`. Amounts and balances are integers up to 2**53 - 1, exact in every JSON
reader.
"""

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct, field, json

from crypto.errors import KeyRefused
from crypto.keys import PublicKey, check_public_key
from ledger.application import (
    ApplicationContext,
    Invalid,
    PayloadDecoder,
    Refused,
    StateReader,
    StateView,
    refuse_parameters,
)
from ledger.errors import ApplicationError

MAX_AMOUNT = 2**53 - 1
PREFIX = b"account/"
ISSUERS = "issuers"

Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""Letters, digits and `._-` of ASCII, which `_state_key` checks: a pattern here would cost 1 us."""
_is_name = re.compile(r"[A-Za-z0-9._-]+").fullmatch

Amount = Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]


class Operation(Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """The base of all operations."""


class Open(Operation, frozen=True, tag="open"):
    """Open an account, with nothing in it, as the sender's."""

    account: Name


class Issue(Operation, frozen=True, tag="issue"):
    """Bring new units into an account."""

    account: Name
    amount: Amount


class Transfer(Operation, frozen=True, tag="transfer"):
    """Move units from an account of the sender's to another one."""

    source: Name = field(name="from")
    target: Name = field(name="to")
    amount: Amount


class Balance(Operation, frozen=True, tag="balance"):
    """The question for an account."""

    account: Name


class Account(Struct, frozen=True):
    """An account, as it lies in the state. Fields in the order of their names: its JSON is canonical."""

    balance: int
    owner: str
    """The owner's public key in hexadecimal."""


Payload: TypeAlias = Open | Issue | Transfer
_accounts = json.Decoder(Account)


class Assets:
    """The application."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        refuse_parameters("assets", parameters, frozenset({ISSUERS}))
        self._issuers = _parse_issuers(parameters[ISSUERS]) if ISSUERS in parameters else None
        self._payloads: PayloadDecoder[Payload] = PayloadDecoder(Payload)
        self._questions: PayloadDecoder[Balance] = PayloadDecoder(Balance)

    def check(self, payload: bytes) -> None:
        """Raise `Invalid` unless `payload` is an operation in canonical JSON, and no transfer to itself."""
        operation = self._payloads.check(payload)
        if isinstance(operation, Transfer):
            _require_two(operation)
            _state_key(operation.source)
            _state_key(operation.target)
        else:
            _state_key(operation.account)

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Carry out one operation. Raises `Refused`, `Invalid`."""
        operation = self._payloads.decode(payload)
        if isinstance(operation, Transfer):
            return _transfer(operation, context.sender, state)
        if isinstance(operation, Issue):
            if self._issuers is not None and context.sender not in self._issuers:
                raise Refused("the sender may not issue")
            return b"%d" % _add(operation.account, operation.amount, state)
        key = _state_key(operation.account)
        if state.get(key) is not None:
            raise Refused(f"account {operation.account} is open already")
        account = json.encode(Account(0, context.sender.hex()))
        state.put(key, account)
        return account

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer `{"op": "balance", "account": ...}`: the account, or `null`. Raises `Invalid`."""
        account = state.get(_state_key(self._questions.decode(question).account))
        return b"null" if account is None else account


def _transfer(operation: Transfer, sender: PublicKey, state: StateView) -> bytes:
    _require_two(operation)
    key = _state_key(operation.source)
    source = _account(key, operation.source, state)
    if source.owner != sender.hex():
        raise Refused(f"account {operation.source} is not the sender's")
    if source.balance < operation.amount:
        raise Refused(f"account {operation.source} holds {source.balance}, {operation.amount} are needed")
    left = source.balance - operation.amount
    received = _add(operation.target, operation.amount, state)
    state.put(key, json.encode(Account(left, source.owner)))
    return b'{"from":%d,"to":%d}' % (left, received)


def _add(name: str, amount: int, state: StateView) -> int:
    """Add to an account and return its new balance."""
    key = _state_key(name)
    account = _account(key, name, state)
    balance = account.balance + amount
    if balance > MAX_AMOUNT:
        raise Refused(f"account {name} would hold more than {MAX_AMOUNT}")
    state.put(key, json.encode(Account(balance, account.owner)))
    return balance


def _account(key: bytes, name: str, state: StateView) -> Account:
    stored = state.get(key)
    if stored is None:
        raise Refused(f"account {name} is not open")
    return _accounts.decode(stored)


def _state_key(name: str) -> bytes:
    if not _is_name(name):
        raise Invalid("an account's name has letters, digits and ._- of ASCII only")
    return PREFIX + name.encode()


def _require_two(operation: Transfer) -> None:
    if operation.source == operation.target:
        raise Invalid("a transfer from an account to itself")


def _parse_issuers(text: str) -> frozenset[bytes]:
    try:
        return frozenset(check_public_key(bytes.fromhex(part.strip())) for part in text.split(","))
    except KeyRefused as error:
        raise ApplicationError(f"application 'assets': {ISSUERS} {text!r}: {error}") from None
    except ValueError:
        what = "are public keys of 64 hexadecimal digits, separated by commas"
        raise ApplicationError(f"application 'assets': {ISSUERS} {what}, not {text!r}") from None
