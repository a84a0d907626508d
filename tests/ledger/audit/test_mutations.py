"""Whatever is written into a store, the audit ends, raises nothing, and never calls it valid."""

import random
from typing import Any

import msgspec
import pytest

from ledger.audit.compare import compare
from ledger.audit.report import Level, Verdict
from ledger.keyvalue import Family
from ledger.store import SEAL_BYTES, seal
from tests.ledger.audit.chains import Certificates, Maker, Records

ODD: list[Any] = [0, -1, 2**63, 2**64 - 1, None, b"", b"x" * 32, "x", [], {}, 1.5, True, [[[]]] * 5]


@pytest.fixture(scope="module")
def chain() -> Maker:
    return Maker().grow(6)


def cut(dice: random.Random, value: bytes) -> bytes:
    return value[: dice.randrange(len(value) + 1)]


def noise(dice: random.Random, value: bytes) -> bytes:
    return dice.randbytes(dice.randrange(80))


def longer(dice: random.Random, value: bytes) -> bytes:
    return value + bytes(dice.randrange(1, 9))


def spliced(dice: random.Random, value: bytes) -> bytes:
    at, piece = dice.randrange(len(value)), value[dice.randrange(len(value)) :][:50]
    return value[:at] + piece + value[at + dice.randrange(40) :]


def odd(dice: random.Random, value: bytes) -> bytes:
    """The same structure with something strange in one place."""
    try:
        return msgspec.msgpack.encode(replaced(dice, msgspec.msgpack.decode(value)))
    except msgspec.MsgspecError:
        return value[::-1]


def replaced(dice: random.Random, value: Any) -> Any:
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], replaced(dice, value[at]), *value[at + 1 :]]
    return dice.choice(ODD)


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.name)
@pytest.mark.parametrize("mutate", [cut, noise, longer, spliced, odd])
def test_no_record_mutated_behind_a_good_seal_is_valid(chain: Maker, family: Family, mutate: Any) -> None:
    dice = random.Random(f"{family.name} {mutate.__name__}")
    records, certificates = Records(chain.roster), Certificates(chain.roster)
    for _ in range(5):
        disk = chain.copy()
        key, stored = dice.choice(list(disk.scan(family)))
        value = stored if family is Family.STATE else stored[:-SEAL_BYTES]
        changed = mutate(dice, value)
        if changed == value:
            continue
        disk.write([(family, key, changed if family is Family.STATE else seal(family, key, changed))])
        verdicts = [chain.audit(level, disk).verdict for level in Level]
        assert verdicts[-1] is Verdict.INVALID, (key, changed)
        compare({"a": chain.disk, "b": disk}, chain.genesis, certificates, records)
