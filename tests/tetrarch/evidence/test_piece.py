"""Evidence convicts whoever signed both statements, to anybody who has the genesis, and nobody else."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crypto.digest import ChainId
from crypto.keys import Signature
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft.contradictions import KINDS
from tests.tetrarch.evidence.statements import evidence, pairs, proposal, sign
from tests.tetrarch.node.support import KEYS, make_genesis
from tetrarch.errors import ConfigurationError, VerificationError
from tetrarch.evidence import Evidence
from tetrarch.trust import TrustRoot

GENESIS = make_genesis(4)
TRUST = TrustRoot.of(GENESIS)
PAIRS = pairs(GENESIS)
GOOD = evidence(GENESIS, *PAIRS["prepares"])


@pytest.mark.parametrize("kind", PAIRS)
def test_each_kind_is_saved_read_and_verified(kind: str, tmp_path: Path) -> None:
    piece = evidence(GENESIS, *PAIRS[kind])
    piece.save(tmp_path / "e")
    loaded = Evidence.load(tmp_path / "e")
    assert loaded == piece
    proven = loaded.verify(TRUST)
    assert (proven.member, proven.contradiction.kind) == (piece.member, kind)
    assert proven.what == piece.what
    assert proven.what.startswith(f"replica-{piece.member} ")


def test_every_kind_is_tried() -> None:
    assert set(PAIRS) == set(KINDS)


def test_one_line_says_who_did_what() -> None:
    assert GOOD.verify(TRUST).what == "replica-2 signed two different PREPAREs for view 0, sequence 7"


def test_the_checks_are_named_in_their_order() -> None:
    assert GOOD.verify(TRUST).checked == (
        "chain",
        "engine",
        "epoch",
        "member",
        "first signature",
        "second signature",
        "contradiction",
        "text",
    )


def refused(piece: Evidence, trust: TrustRoot = TRUST) -> str:
    with pytest.raises(VerificationError) as caught:
        piece.verify(trust)
    return caught.value.check


def second(change: Callable[[Envelope], Envelope]) -> Evidence:
    one, other = GOOD.statements
    return replace(GOOD, statements=(one, change(other)))


def test_another_chains_evidence_is_refused_also_where_it_claims_to_be_of_this_one() -> None:
    other = TrustRoot.of(make_genesis(4, horizon_ms=700_000))
    assert refused(GOOD, other) == "chain"
    assert refused(replace(GOOD, chain_id=other.chain_id), other) == "first signature"
    assert refused(replace(GOOD, chain_id=ChainId(bytes(32)))) == "chain"


def test_another_engines_and_another_epochs_are_refused() -> None:
    assert refused(replace(GOOD, engine="raft")) == "engine"
    assert refused(second(lambda each: replace(each, epoch=1))) == "epoch"


def test_the_words_of_another_member_convict_nobody() -> None:
    theirs = sign(GENESIS, 3, proposal(GENESIS, b"b"))
    assert refused(second(lambda each: theirs)) == "member"
    assert refused(second(lambda each: replace(theirs, signer=2))) == "second signature"
    assert refused(replace(GOOD, member=MemberId(1))) == "member"
    assert refused(replace(GOOD, member=MemberId(9))) == "member"


def test_a_flipped_bit_in_either_statement_is_found() -> None:
    for place, check in enumerate(("first signature", "second signature")):
        statement = GOOD.statements[place]
        for field in ("body", "signature"):
            data = getattr(statement, field)
            for at in range(0, len(data), 7):
                flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                both = list(GOOD.statements)
                both[place] = replace(statement, **{field: flipped})
                assert refused(replace(GOOD, statements=(both[0], both[1]))) == check


def test_exchanged_signatures_do_not_hold() -> None:
    one, other = GOOD.statements
    crossed = (replace(one, signature=other.signature), replace(other, signature=one.signature))
    assert refused(replace(GOOD, statements=crossed)) == "first signature"


def test_the_same_statement_twice_is_no_contradiction() -> None:
    one, _ = GOOD.statements
    assert refused(replace(GOOD, statements=(one, one))) == "contradiction"
    assert refused(replace(GOOD, statements=(one, replace(one, beside=b"other ids")))) == "contradiction"


def test_what_a_correct_member_may_sign_is_no_contradiction() -> None:
    prepare, commit = PAIRS["prepares"][0], PAIRS["commits"][0]
    assert refused(replace(GOOD, statements=(prepare, commit))) == "contradiction"


def test_what_is_no_message_is_no_contradiction() -> None:
    for kind in ("pbft/nothing", "pbft/commit"):
        nonsense = replace(GOOD, statements=(GOOD.statements[0], anything(kind, b"\x93")))
        assert refused(nonsense) == "contradiction"


def anything(kind: str, body: bytes) -> Envelope:
    """Anything at all, signed by member 2."""
    signature = KEYS[2].sign(GENESIS.roster().signing_bytes(kind, body))
    return Envelope(kind, GENESIS.roster().epoch, MemberId(2), body, Signature(signature))


@pytest.mark.parametrize("field", ["name", "kind", "what", "why"])
def test_a_file_that_tells_people_something_else_is_refused(field: str) -> None:
    assert refused(replace(GOOD, **{field: "replica-1 did it"})) == "text"
    assert refused(replace(GOOD, says=("nothing", GOOD.says[1]))) == "text"


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda plain: plain.update(format="tetrarch-receipt"), "format"),
        (lambda plain: plain.update(version=2, more="fields"), "version"),
        (lambda plain: plain.update(version=True), "version"),
        (lambda plain: plain.pop("version"), "version"),
        (lambda plain: plain.pop("member"), "member"),
        (lambda plain: plain.update(member=-1), "member"),
        (lambda plain: plain.update(chain_id="00"), "chain_id"),
        (lambda plain: plain.update(more=1), "more"),
        (lambda plain: plain["statements"].pop(), "statements"),
        (lambda plain: plain["statements"][1].update(body="?"), "statements[1].body"),
        (lambda plain: plain["statements"][0].update(signature="00"), "statements[0].signature"),
        (lambda plain: plain["statements"][0].update(beside="00"), "statements[0].beside"),
    ],
)
def test_a_file_of_another_form_is_refused_with_file_and_field(
    change: Change, named: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.json"
    GOOD.save(file)
    plain = json.loads(file.read_text())
    change(plain)
    file.write_text(json.dumps(plain))
    with pytest.raises(ConfigurationError) as caught:
        Evidence.load(file)
    assert (caught.value.path, caught.value.key) == (file, named)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"format": 1, "format": 2}'])
def test_what_is_no_json_object_is_refused_with_the_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(content)
    with pytest.raises(ConfigurationError, match="e: "):
        Evidence.load(tmp_path / "e")


def test_the_file_can_be_read_by_people(tmp_path: Path) -> None:
    GOOD.save(tmp_path / "e")
    plain = json.loads((tmp_path / "e").read_text())
    assert plain["what"] == "replica-2 signed two different PREPAREs for view 0, sequence 7"
    batches = {proposal(GENESIS, name).digest.hex() for name in (b"a", b"b")}
    assert {each["says"].rpartition(" ")[2] for each in plain["statements"]} == batches
    assert base64.b64decode(plain["statements"][0]["body"]) == GOOD.statements[0].body
