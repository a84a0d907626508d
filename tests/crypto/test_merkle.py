"""Rules of crypto.merkle, held against RFC 6962's own recursive definitions and published test vectors."""

import itertools
import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import merkle
from crypto.codec import StrictDecoder, encode
from crypto.errors import CodecError, CryptoError
from crypto.merkle import MerkleCheck, MerkleError, Multiproof, Tree

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle_certificate_transparency.json").read_text())
PUBLISHED_LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]

many_leaves = st.lists(st.binary(max_size=40), min_size=1, max_size=70)
unique_leaves = st.lists(st.binary(max_size=40), min_size=1, max_size=40, unique=True)


# RFC 6962, sections 2.1, 2.1.1 and 2.1.2, word for word: slow, recursive, sharing nothing with the module.


def split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def rfc_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*rfc_path(m, leaves[:k]), rfc_root(leaves[k:])]
    return [*rfc_path(m - k, leaves[k:]), rfc_root(leaves[:k])]


def rfc_subproof(m: int, leaves: Sequence[bytes], complete: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if complete else [rfc_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*rfc_subproof(m, leaves[:k], complete), rfc_root(leaves[k:])]
    return [*rfc_subproof(m - k, leaves[k:], False), rfc_root(leaves[:k])]


def shape(index: int, size: int) -> list[str]:
    """The sides on which an audit path's hashes stand, from the leaf upwards."""
    if size == 1:
        return []
    k = split(size)
    return [*shape(index, k), "right"] if index < k else [*shape(index - k, size - k), "left"]


def numbered(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


def bit_flips(data: bytes) -> list[bytes]:
    whole = int.from_bytes(data, "big")
    return [(whole ^ (1 << bit)).to_bytes(len(data), "big") for bit in range(8 * len(data))]


def failed_check(verify: Callable[..., object], *arguments: object) -> MerkleCheck:
    with pytest.raises(MerkleError) as caught:
        verify(*arguments)
    return caught.value.check


# Published figures.


@pytest.mark.parametrize("size", range(9))
def test_the_published_root_of_each_size_is_computed(size: int) -> None:
    assert merkle.root(PUBLISHED_LEAVES[:size]).hex() == VECTORS["roots"][size]
    assert rfc_root(PUBLISHED_LEAVES[:size]).hex() == VECTORS["roots"][size]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=str)
def test_the_published_audit_paths_are_computed_and_accepted(case: dict[str, Any]) -> None:
    index, size, path = case["index"], case["size"], [bytes.fromhex(node) for node in case["path"]]
    assert merkle.inclusion_proof(merkle.leaf_hashes(PUBLISHED_LEAVES[:size]), index) == path
    merkle.verify_inclusion(bytes.fromhex(VECTORS["roots"][size]), size, index, PUBLISHED_LEAVES[index], path)


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=str)
def test_the_published_consistency_proofs_are_computed_and_accepted(case: dict[str, Any]) -> None:
    old, new, path = case["old_size"], case["new_size"], [bytes.fromhex(node) for node in case["path"]]
    assert merkle.consistency_proof(merkle.leaf_hashes(PUBLISHED_LEAVES[:new]), old) == path
    roots = [bytes.fromhex(root) for root in VECTORS["roots"]]
    merkle.verify_consistency(old, roots[old], new, roots[new], path)


def test_the_seven_leaf_example_of_rfc_6962_section_2_1_3_has_the_stated_proofs() -> None:
    hashes = merkle.leaf_hashes(numbered(7))
    a, b, c, d, e, f, j = hashes
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)  # noqa: E741 (the RFC's letters)
    assert merkle.root_of_hashes(hashes) == merkle.node_hash(k, l)
    assert merkle.inclusion_proof(hashes, 0) == [b, h, l]
    assert merkle.inclusion_proof(hashes, 3) == [c, g, l]
    assert merkle.inclusion_proof(hashes, 4) == [f, j, k]
    assert merkle.inclusion_proof(hashes, 6) == [i, k]
    assert merkle.consistency_proof(hashes, 3) == [c, d, g, l]
    assert merkle.consistency_proof(hashes, 4) == [l]
    assert merkle.consistency_proof(hashes, 6) == [i, j, k]


# Against the definition.


@given(many_leaves)
def test_roots_agree_with_the_definition(leaves: list[bytes]) -> None:
    tree = Tree.of_leaves(leaves)
    assert merkle.root(leaves) == tree.root == rfc_root(leaves)
    assert tree.size == len(leaves)


@given(many_leaves, st.data())
def test_audit_paths_agree_with_the_definition_and_verify(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = Tree.of_leaves(leaves).inclusion_proof(index)
    assert path == rfc_path(index, leaves)
    merkle.verify_inclusion(rfc_root(leaves), len(leaves), index, leaves[index], path)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33])
def test_consistency_proofs_agree_with_the_definition_and_verify(size: int) -> None:
    leaves = numbered(size)
    tree = Tree.of_leaves(leaves)
    for old in range(1, size + 1):
        path = tree.consistency_proof(old)
        assert path == rfc_subproof(old, leaves, True)
        merkle.verify_consistency(old, rfc_root(leaves[:old]), size, tree.root, path)


@given(many_leaves, st.data())
def test_a_multiproof_of_any_leaves_verifies(leaves: list[bytes], data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, len(leaves) - 1), min_size=1)))
    proof = Tree.of_leaves(leaves).multiproof(indices)
    entries = [(index, merkle.leaf_hash(leaves[index])) for index in indices]
    merkle.verify_multiproof(rfc_root(leaves), len(leaves), entries, proof)


@given(many_leaves, st.data())
def test_a_multiproof_holds_each_needed_hash_once(leaves: list[bytes], data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, len(leaves) - 1), min_size=1)))
    proof = Tree.of_leaves(leaves).multiproof(indices)
    assert len(proof.hashes) == joints(0, len(leaves), indices)


def joints(first: int, end: int, indices: Sequence[int]) -> int:
    """How many subtrees of leaves first..end hold none of `indices` while their sibling does."""
    inside = [index for index in indices if first <= index < end]
    if not inside:
        return 1
    if end - first == 1:
        return 0
    middle = first + split(end - first)
    return joints(first, middle, inside) + joints(middle, end, inside)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_every_set_of_leaves_of_a_small_tree_has_a_multiproof(size: int) -> None:
    tree = Tree.of_leaves(numbered(size))
    hashes = merkle.leaf_hashes(numbered(size))
    for count in range(1, size + 1):
        for indices in itertools.combinations(range(size), count):
            entries = [(index, hashes[index]) for index in indices]
            merkle.verify_multiproof(tree.root, size, entries, tree.multiproof(indices))


def test_a_multiproof_of_one_leaf_is_its_audit_path() -> None:
    tree = Tree.of_leaves(numbered(13))
    for index in range(13):
        assert list(tree.multiproof([index]).hashes) == tree.inclusion_proof(index)


def test_a_multiproof_of_all_leaves_is_empty_and_binds_them_all() -> None:
    hashes = merkle.leaf_hashes(numbered(13))
    root = merkle.root_of_hashes(hashes)
    proof = merkle.multiproof(hashes, range(13))
    assert proof == Multiproof()
    entries = list(enumerate(hashes))
    merkle.verify_multiproof(root, 13, entries, proof)
    swapped = [(0, hashes[1]), (1, hashes[0]), *entries[2:]]
    assert failed_check(merkle.verify_multiproof, root, 13, swapped, proof) == MerkleCheck.ROOT
    surplus = Multiproof((hashes[0],))
    assert failed_check(merkle.verify_multiproof, root, 13, entries, surplus) == MerkleCheck.PROOF_LENGTH
    shorter = entries[:-1]
    assert failed_check(merkle.verify_multiproof, root, 13, shorter, proof) == MerkleCheck.PROOF_LENGTH


def test_a_multiproof_survives_the_wire_and_a_hash_of_another_length_does_not() -> None:
    decoder = StrictDecoder(Multiproof, 1_000)
    proof = Tree.of_leaves(numbered(6)).multiproof([1, 4])
    assert decoder.decode(encode(proof)) == proof
    with pytest.raises(CodecError):
        decoder.decode(encode(Multiproof((bytes(31),))))


# Whatever is changed, the proof fails.


def test_no_bit_of_root_leaf_or_path_can_be_flipped_in_an_inclusion_proof() -> None:
    leaves = numbered(7)
    tree = Tree.of_leaves(leaves)
    path = tree.inclusion_proof(4)
    for root in bit_flips(tree.root):
        assert failed_check(merkle.verify_inclusion, root, 7, 4, leaves[4], path)
    for leaf in bit_flips(leaves[4]):
        assert failed_check(merkle.verify_inclusion, tree.root, 7, 4, leaf, path)
    for place, node in enumerate(path):
        for flipped in bit_flips(node):
            changed = [*path[:place], flipped, *path[place + 1 :]]
            assert failed_check(merkle.verify_inclusion, tree.root, 7, 4, leaves[4], changed)


def test_no_bit_of_roots_or_path_can_be_flipped_in_a_consistency_proof() -> None:
    leaves = numbered(7)
    old, new = merkle.root(leaves[:3]), merkle.root(leaves)
    path = merkle.consistency_proof(merkle.leaf_hashes(leaves), 3)
    for root in bit_flips(old):
        check = failed_check(merkle.verify_consistency, 3, root, 7, new, path)
        assert check == MerkleCheck.OLD_ROOT
    for root in bit_flips(new):
        check = failed_check(merkle.verify_consistency, 3, old, 7, root, path)
        assert check == MerkleCheck.ROOT
    for place, node in enumerate(path):
        for flipped in bit_flips(node):
            changed = [*path[:place], flipped, *path[place + 1 :]]
            assert failed_check(merkle.verify_consistency, 3, old, 7, new, changed) in {
                MerkleCheck.OLD_ROOT,
                MerkleCheck.ROOT,
            }


def test_no_bit_of_root_leaves_or_hashes_can_be_flipped_in_a_multiproof() -> None:
    hashes = merkle.leaf_hashes(numbered(9))
    tree = Tree(hashes)
    entries = [(index, hashes[index]) for index in (1, 2, 8)]
    proof = tree.multiproof([1, 2, 8])
    for root in bit_flips(tree.root):
        assert failed_check(merkle.verify_multiproof, root, 9, entries, proof)
    for place, (index, leaf) in enumerate(entries):
        for flipped in bit_flips(leaf):
            changed = [*entries[:place], (index, flipped), *entries[place + 1 :]]
            assert failed_check(merkle.verify_multiproof, tree.root, 9, changed, proof)
    for place, node in enumerate(proof.hashes):
        for flipped in bit_flips(node):
            other = Multiproof((*proof.hashes[:place], flipped, *proof.hashes[place + 1 :]))
            assert failed_check(merkle.verify_multiproof, tree.root, 9, entries, other)


@given(unique_leaves, st.data())
def test_a_leaf_proves_no_other_index(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(-1, len(leaves) + 1).filter(lambda claimed: claimed != index))
    path = Tree.of_leaves(leaves).inclusion_proof(index)
    assert failed_check(merkle.verify_inclusion, rfc_root(leaves), len(leaves), other, leaves[index], path)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=40, unique=True), st.data())
def test_no_leaf_of_a_multiproof_can_be_claimed_at_another_index(
    leaves: list[bytes], data: st.DataObject
) -> None:
    moved = data.draw(st.integers(0, len(leaves) - 2))
    others = data.draw(st.sets(st.integers(0, len(leaves) - 1))) - {moved, moved + 1}
    indices, claimed = sorted({moved, *others}), sorted({moved + 1, *others})
    tree = Tree.of_leaves(leaves)
    entries = [
        (other, merkle.leaf_hash(leaves[index])) for index, other in zip(indices, claimed, strict=True)
    ]
    assert failed_check(merkle.verify_multiproof, tree.root, tree.size, entries, tree.multiproof(indices))


@given(unique_leaves, st.data())
def test_a_path_fits_no_size_in_which_it_would_have_another_shape(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    claimed = data.draw(st.integers(index + 1, 200))
    path = Tree.of_leaves(leaves).inclusion_proof(index)

    def verify() -> None:
        merkle.verify_inclusion(rfc_root(leaves), claimed, index, leaves[index], path)

    if shape(index, claimed) == shape(index, len(leaves)):
        verify()
    else:
        assert failed_check(verify)


@pytest.mark.parametrize("size", range(1, 17))
def test_a_consistency_proof_fits_no_other_old_size(size: int) -> None:
    leaves = numbered(size)
    tree = Tree.of_leaves(leaves)
    for old, claimed in itertools.permutations(range(size + 1), 2):
        path = tree.consistency_proof(old)
        old_root = merkle.root(leaves[:old])
        assert failed_check(merkle.verify_consistency, claimed, old_root, size, tree.root, path)


@given(unique_leaves, st.data())
def test_a_history_that_was_rewritten_has_no_consistency_proof(
    leaves: list[bytes], data: st.DataObject
) -> None:
    old_size = data.draw(st.integers(1, len(leaves)))
    changed = data.draw(st.integers(0, old_size - 1))
    rewritten = [*leaves[:changed], leaves[changed] + b"!", *leaves[changed + 1 :]]
    path = Tree.of_leaves(rewritten).consistency_proof(old_size)
    assert failed_check(
        merkle.verify_consistency,
        old_size,
        rfc_root(leaves[:old_size]),
        len(leaves),
        rfc_root(rewritten),
        path,
    ) in {MerkleCheck.OLD_ROOT, MerkleCheck.ROOT}


@given(many_leaves, st.data())
def test_a_hash_too_many_or_too_few_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    tree = Tree.of_leaves(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = tree.inclusion_proof(index)
    longer = [*path, bytes(32)]
    assert (
        failed_check(merkle.verify_inclusion, tree.root, tree.size, index, leaves[index], longer)
        == MerkleCheck.PROOF_LENGTH
    )
    if path:
        assert (
            failed_check(merkle.verify_inclusion, tree.root, tree.size, index, leaves[index], path[:-1])
            == MerkleCheck.PROOF_LENGTH
        )


@pytest.mark.parametrize("old_size", [1, 2, 3, 5, 6, 7])
def test_a_consistency_proof_with_a_hash_too_many_or_too_few_is_refused(old_size: int) -> None:
    leaves = numbered(7)
    tree = Tree.of_leaves(leaves)
    old_root = merkle.root(leaves[:old_size])
    path = tree.consistency_proof(old_size)
    for wrong in ([*path, bytes(32)], path[:-1] if path else [bytes(32)] * 2):
        check = failed_check(merkle.verify_consistency, old_size, old_root, 7, tree.root, wrong)
        assert check == MerkleCheck.PROOF_LENGTH


def test_an_inner_node_cannot_pass_for_a_leaf() -> None:
    left, right = merkle.leaf_hashes([b"a", b"b"])
    root = merkle.root([b"a", b"b"])
    assert failed_check(merkle.verify_inclusion, root, 1, 0, left + right, []) == MerkleCheck.ROOT


# The empty tree.


def test_the_empty_tree_has_the_hash_of_nothing_and_holds_no_leaf() -> None:
    assert Tree([]).root == merkle.root([]) == merkle.EMPTY_ROOT == sha256().digest()
    assert failed_check(Tree([]).inclusion_proof, 0) == MerkleCheck.TREE_SIZE
    assert failed_check(merkle.verify_inclusion, merkle.EMPTY_ROOT, 0, 0, b"", []) == MerkleCheck.TREE_SIZE


def test_every_tree_continues_the_empty_one_but_only_under_its_true_root() -> None:
    tree = Tree.of_leaves(numbered(5))
    assert tree.consistency_proof(0) == []
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 5, tree.root, [])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    assert failed_check(merkle.verify_consistency, 0, bytes(32), 5, tree.root, []) == MerkleCheck.OLD_ROOT
    assert failed_check(merkle.verify_consistency, 0, merkle.EMPTY_ROOT, 0, bytes(32), []) == MerkleCheck.ROOT


# Hostile input.

HUGE = 2**200
EXTREMES = [-HUGE, -1, HUGE, merkle.MAX_TREE_SIZE + 1]


@pytest.mark.parametrize("size", [0, *EXTREMES])
def test_a_size_outside_its_range_is_refused(size: int) -> None:
    one = merkle.leaf_hash(b"")
    assert failed_check(merkle.verify_inclusion, one, size, 0, b"", []) == MerkleCheck.TREE_SIZE
    assert (
        failed_check(merkle.verify_multiproof, one, size, [(0, one)], Multiproof()) == MerkleCheck.TREE_SIZE
    )


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3), (1, HUGE), (HUGE, HUGE), (-HUGE, -1)])
def test_sizes_that_cannot_continue_one_another_are_refused(old: int, new: int) -> None:
    assert (
        failed_check(merkle.verify_consistency, old, bytes(32), new, bytes(32), []) == MerkleCheck.TREE_SIZE
    )


@pytest.mark.parametrize("index", [*EXTREMES, 3])
def test_an_index_outside_the_tree_is_refused(index: int) -> None:
    tree = Tree.of_leaves(numbered(3))
    assert failed_check(merkle.verify_inclusion, tree.root, 3, index, b"", []) == MerkleCheck.INDEX
    assert failed_check(tree.inclusion_proof, index) == MerkleCheck.INDEX
    assert failed_check(tree.multiproof, [index]) == MerkleCheck.INDEX
    assert failed_check(tree.consistency_proof, 4) == MerkleCheck.TREE_SIZE
    assert failed_check(tree.consistency_proof, -1) == MerkleCheck.TREE_SIZE


@pytest.mark.parametrize("indices", [(1, 1), (2, 1), (0, 2, 2), (0, 2, 1, 3), (0, HUGE, 3), (0, -1, 3)])
def test_repeated_unsorted_or_stray_indices_are_refused(indices: tuple[int, ...]) -> None:
    tree = Tree.of_leaves(numbered(4))
    entries = [(index, bytes(32)) for index in indices]
    assert (
        failed_check(merkle.verify_multiproof, tree.root, 4, entries, Multiproof()) == MerkleCheck.INDEX_ORDER
    )
    assert failed_check(tree.multiproof, indices) == MerkleCheck.INDEX_ORDER


def test_a_multiproof_of_no_leaf_is_refused() -> None:
    tree = Tree.of_leaves(numbered(4))
    assert (
        failed_check(merkle.verify_multiproof, tree.root, 4, [], Multiproof((tree.root,)))
        == MerkleCheck.INDEX
    )
    assert failed_check(tree.multiproof, []) == MerkleCheck.INDEX


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_hash_of_another_length_is_refused_wherever_it_stands(wrong: bytes) -> None:
    a, b = merkle.leaf_hashes([b"a", b"b"])
    root = merkle.node_hash(a, b)
    attempts: list[Callable[[], object]] = [
        lambda: merkle.verify_inclusion(wrong, 2, 0, b"a", [b]),
        lambda: merkle.verify_inclusion(root, 2, 0, b"a", [wrong]),
        lambda: merkle.verify_inclusion_of_hash(root, 2, 0, wrong, [b]),
        lambda: merkle.verify_multiproof(wrong, 2, [(0, a)], Multiproof((b,))),
        lambda: merkle.verify_multiproof(root, 2, [(0, wrong)], Multiproof((b,))),
        lambda: merkle.verify_multiproof(root, 2, [(0, a)], Multiproof((wrong,))),
        lambda: merkle.verify_consistency(1, wrong, 2, root, [b]),
        lambda: merkle.verify_consistency(1, a, 2, wrong, [b]),
        lambda: merkle.verify_consistency(1, a, 2, root, [wrong]),
    ]
    for attempt in attempts:
        assert failed_check(attempt) == MerkleCheck.HASH_LENGTH


def test_the_largest_tree_is_walked_in_63_steps() -> None:
    path = [bytes([step]) * 32 for step in range(63)]
    leaf = merkle.leaf_hash(b"first")
    root = leaf
    for node in path:
        root = merkle.node_hash(root, node)
    merkle.verify_inclusion(root, merkle.MAX_TREE_SIZE, 0, b"first", path)
    merkle.verify_consistency(1, leaf, merkle.MAX_TREE_SIZE, root, path)
    thousands = [bytes(32)] * 5_000
    assert (
        failed_check(merkle.verify_inclusion, root, merkle.MAX_TREE_SIZE, 0, b"first", thousands)
        == MerkleCheck.PROOF_LENGTH
    )


any_integer = st.integers(-3, 20) | st.integers(-(2**70), 2**70)
any_hashes = st.lists(st.binary(min_size=30, max_size=33) | st.just(bytes(32)), max_size=8)


@given(any_integer, any_integer, any_hashes, st.lists(st.tuples(any_integer, st.just(bytes(32)))))
def test_nothing_but_a_merkle_error_leaves_the_verification_of_arbitrary_input(
    first: int, second: int, path: list[bytes], entries: list[tuple[int, bytes]]
) -> None:
    root = bytes(32)
    with pytest.raises(MerkleError):
        merkle.verify_inclusion(root, first, second, b"leaf", path)
    with pytest.raises(MerkleError):
        merkle.verify_multiproof(root, first, entries, Multiproof(tuple(path)))
    with pytest.raises(MerkleError):
        merkle.verify_consistency(first, root, second, bytes([1]) * 32, path)


def test_a_merkle_error_belongs_to_the_family_and_names_its_check() -> None:
    error = MerkleError(MerkleCheck.ROOT, "detail")
    assert isinstance(error, CryptoError)
    assert isinstance(error, ValueError)
    assert str(error) == "Merkle root: detail"
