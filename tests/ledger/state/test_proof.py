"""Rules of proofs: what is in the state is proved present, what is not absent, and no changed byte passes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.digest import Digest
from ledger.state import (
    EMPTY_ROOT,
    MAX_KEY_BYTES,
    MAX_PROOF_BYTES,
    MAX_VALUE_BYTES,
    ProofCheck,
    ProofError,
    StateLimitExceeded,
    StateProof,
    decode_proof,
    encode_proof,
    verify_absence,
    verify_presence,
)
from tests.ledger.state.worlds import CLOSE_KEYS, World, accounts, keys, worlds


def large_world() -> World:
    world = World()
    world.apply({**accounts(3000), **dict.fromkeys(CLOSE_KEYS, b"close")})
    return world


LARGE = large_world()
ROOT = LARGE.tree.root
present = st.sampled_from(sorted(LARGE.model))
absent = keys.filter(lambda key: key not in LARGE.model)


@given(worlds, keys)
def test_every_key_is_proved_present_or_absent(world: dict[bytes, bytes], key: bytes) -> None:
    state = World()
    root = state.apply(world)
    for asked in (key, *list(world)[:3]):
        proof = decode_proof(encode_proof(state.tree.prove(asked)))
        if asked in world:
            verify_presence(root, asked, world[asked], proof)
            with pytest.raises(ProofError):
                verify_absence(root, asked, proof)
        else:
            verify_absence(root, asked, proof)
            with pytest.raises(ProofError):
                verify_presence(root, asked, b"", proof)


def test_absence_from_the_empty_state_is_proved() -> None:
    verify_absence(EMPTY_ROOT, b"anything", World().tree.prove(b"anything"))


def test_absence_below_a_child_without_keys_is_proved() -> None:
    state = World()
    root = state.apply(dict.fromkeys(CLOSE_KEYS, b"close"))
    proof = state.tree.prove(b"elsewhere")
    assert proof.paths == b""
    verify_absence(root, b"elsewhere", proof)


@given(present, st.binary(max_size=20))
def test_no_other_value_is_proved(key: bytes, other: bytes) -> None:
    if other != LARGE.model[key]:
        with pytest.raises(ProofError):
            verify_presence(ROOT, key, other, LARGE.tree.prove(key))


@given(present, keys)
def test_a_proof_serves_no_other_key(key: bytes, other: bytes) -> None:
    proof = LARGE.tree.prove(key)
    if other != key:
        with pytest.raises(ProofError):
            verify_presence(ROOT, other, LARGE.model[key], proof)


def test_moving_bytes_between_key_and_value_is_refused() -> None:
    proof = LARGE.tree.prove(b"account/123")
    with pytest.raises(ProofError):
        verify_presence(ROOT, b"account/12", b"3" + LARGE.model[b"account/123"], proof)


@given(present, st.integers(0, 31), st.integers(1, 255))
def test_no_other_root_is_accepted(key: bytes, at: int, change: int) -> None:
    root = bytearray(ROOT)
    root[at] ^= change
    with pytest.raises(ProofError) as refused:
        verify_presence(Digest(bytes(root)), key, LARGE.model[key], LARGE.tree.prove(key))
    assert refused.value.check is ProofCheck.ROOT


def verify_bytes(key: bytes, data: bytes) -> None:
    proof = decode_proof(data)
    if key in LARGE.model:
        verify_presence(ROOT, key, LARGE.model[key], proof)
    else:
        verify_absence(ROOT, key, proof)


@settings(max_examples=300)
@given(st.one_of(present, absent), st.data())
def test_no_changed_byte_of_a_proof_passes(key: bytes, data: st.DataObject) -> None:
    changed = bytearray(encode_proof(LARGE.tree.prove(key)))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofError):
        verify_bytes(key, bytes(changed))


@settings(max_examples=200)
@given(st.one_of(present, absent), st.data())
def test_no_part_may_be_cut_repeated_or_moved(key: bytes, data: st.DataObject) -> None:
    proof = LARGE.tree.prove(key)
    cut = data.draw(st.integers(1, 80))
    at = data.draw(st.integers(0, max(len(proof.nodes) - 1, 0)))
    changed = data.draw(
        st.sampled_from(
            [
                msgspec.structs.replace(proof, nodes=proof.nodes[:at] + proof.nodes[at + 1 :]),
                msgspec.structs.replace(proof, nodes=proof.nodes[: at + 1] + proof.nodes[at:]),
                msgspec.structs.replace(proof, nodes=proof.nodes[::-1]),
                msgspec.structs.replace(proof, nodes=(*proof.nodes, b"")),
                msgspec.structs.replace(proof, nodes=(proof.nodes[0][:-cut], *proof.nodes[1:])),
                msgspec.structs.replace(proof, nodes=(proof.nodes[0] + bytes(cut), *proof.nodes[1:])),
                msgspec.structs.replace(proof, paths=proof.paths[:-cut] or b"x"),
                msgspec.structs.replace(proof, paths=proof.paths + bytes(cut)),
                msgspec.structs.replace(proof, leaves=proof.leaves + bytes(cut)),
                msgspec.structs.replace(proof, leaves=proof.leaves + bytes(32)),
                msgspec.structs.replace(proof, position=(proof.position or 0) + 1),
                msgspec.structs.replace(proof, position=-1),
                msgspec.structs.replace(proof, position=2**63),
                msgspec.structs.replace(proof, position=0 if proof.position is None else None),
            ]
        )
    )
    with pytest.raises(ProofError):
        verify_bytes(key, encode_proof(changed))


def test_no_position_has_another_name() -> None:
    """Python's slices would take a negative position, and one after the last, for others."""
    for key in list(LARGE.model)[:300]:
        proof = LARGE.tree.prove(key)
        count = len(proof.leaves) // 32 + 1
        for position in (*range(-count - 1, 0), count, count + 1):
            with pytest.raises(ProofError):
                verify_presence(
                    ROOT, key, LARGE.model[key], msgspec.structs.replace(proof, position=position)
                )


def test_a_child_without_keys_has_no_leaves() -> None:
    state = World()
    for root in (EMPTY_ROOT, state.apply(dict.fromkeys(CLOSE_KEYS, b"close"))):
        proof = (state if root == state.tree.root else World()).tree.prove(b"elsewhere")
        with pytest.raises(ProofError):
            verify_absence(root, b"elsewhere", msgspec.structs.replace(proof, leaves=bytes(32)))


def verify_shown(proof: StateProof) -> None:
    if proof.position is None:
        verify_absence(ROOT, b"account/1", proof)
    else:
        verify_presence(ROOT, b"account/1", b"", proof)


@pytest.mark.parametrize(
    ("proof", "check"),
    [
        (StateProof((b"",) * 65, None, b"", b""), ProofCheck.LIMIT),
        (StateProof((), None, bytes(33 * 32), bytes(33 * 32)), ProofCheck.LIMIT),
        (StateProof((), 0, bytes(32), bytes(32 * 32)), ProofCheck.FORM),
        (StateProof((), 0, bytes(32), bytes(33 * 32)), ProofCheck.LIMIT),
        (StateProof((), None, bytes(31), bytes(31)), ProofCheck.FORM),
        (StateProof((), None, bytes(32), bytes(64)), ProofCheck.FORM),
        (StateProof((), 0, bytes(64), bytes(64)), ProofCheck.FORM),
        (StateProof((), 0, b"", bytes(64)), ProofCheck.FORM),
        (StateProof((b"",), None, b"", b""), ProofCheck.FORM),
        (StateProof((bytes(17),), None, b"", b""), ProofCheck.FORM),
    ],
)
def test_lengths_that_no_proof_has_are_refused_as_such(proof: StateProof, check: ProofCheck) -> None:
    with pytest.raises(ProofError) as refused:
        verify_shown(proof)
    assert refused.value.check is check


def test_absence_cannot_be_claimed_with_the_very_bucket_that_holds_the_key() -> None:
    state = World()
    root = state.apply(accounts(20))
    whole = state.tree.prove(b"nobody")
    assert not whole.nodes
    verify_absence(root, b"nobody", whole)
    for key in accounts(20):
        with pytest.raises(ProofError) as refused:
            verify_absence(root, key, whole)
        assert refused.value.check is ProofCheck.PRESENCE


parts = st.one_of(
    st.binary(max_size=70),
    st.integers(0, 20).map(lambda count: b"\x05" * 32 * count),
    st.integers(0, 15).map(lambda count: bytes([255] * count + [0] * (16 - count)) + bytes(32 * count)),
)
hostile_proofs = st.builds(
    StateProof,
    nodes=st.lists(parts, max_size=70).map(tuple),
    position=st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1)),
    paths=parts,
    leaves=parts,
)


@settings(max_examples=300)
@given(hostile_proofs, st.binary(max_size=300), st.binary(max_size=40))
def test_hostile_proofs_are_refused_and_nothing_else_happens(
    proof: StateProof, key: bytes, value: bytes
) -> None:
    with pytest.raises(ProofError):
        verify_presence(ROOT, key, value, proof)
    with pytest.raises(ProofError):
        verify_absence(ROOT, key, proof)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_proof_are_refused(data: bytes) -> None:
    with pytest.raises(ProofError):
        verify_bytes(b"account/1", data)


def test_a_proof_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ProofError, match="more than"):
        decode_proof(bytes(MAX_PROOF_BYTES + 1))


def test_bytes_that_are_not_canonical_are_refused() -> None:
    data = encode_proof(LARGE.tree.prove(b"account/1"))
    assert data[0] == 0x94
    with pytest.raises(ProofError) as refused:
        decode_proof(b"\xdc\x00\x04" + data[1:])
    assert refused.value.check is ProofCheck.FORM


@pytest.mark.parametrize(
    ("key", "value"), [(b"k" * (MAX_KEY_BYTES + 1), b""), (b"k", b"v" * (MAX_VALUE_BYTES + 1))]
)
def test_too_long_keys_and_values_are_refused_before_they_are_hashed(key: bytes, value: bytes) -> None:
    proof = LARGE.tree.prove(b"k")
    with pytest.raises(ProofError) as refused:
        verify_presence(ROOT, key, value, proof)
    assert refused.value.check is ProofCheck.LIMIT


def test_there_is_no_proof_for_a_key_that_is_too_long() -> None:
    with pytest.raises(StateLimitExceeded):
        LARGE.tree.prove(b"k" * (MAX_KEY_BYTES + 1))


def test_an_inner_node_cannot_be_passed_off_as_a_bucket() -> None:
    """The root node's own bytes, read as a bucket's leaves, do not lead to the root."""
    proof = LARGE.tree.prove(b"account/1")
    for nodes in ((), proof.nodes[:1]):
        forged = StateProof(nodes, None, proof.nodes[0][16:][:448], proof.nodes[0][16:][:448])
        with pytest.raises(ProofError):
            verify_absence(ROOT, b"account/1", forged)


def test_absence_cannot_be_proved_by_showing_another_bucket() -> None:
    """A prover who leads the verifier to a bucket that is not on the key's path is found out."""
    other = LARGE.tree.prove(b"nobody")
    for key in list(LARGE.model)[:200]:
        with pytest.raises(ProofError):
            verify_absence(ROOT, key, other)
