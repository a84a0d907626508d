"""What Merkle trees cost per transaction: `python -m benchmarks.merkle`.

Prints the best of several runs in microseconds per leaf, beside what the bare hashes cost on this machine. A
tree of n leaves takes n leaf hashes and n - 1 node hashes. Nothing here is imported by what ships.
"""

import hashlib
import timeit
from collections.abc import Callable

from crypto import merkle

LEAVES = 500
LEAF_BYTES = 48
ROUNDS = 15
REPEATS = 20


def microseconds(work: Callable[[], object], per: int) -> float:
    """Return the best time of one run of `work`, in microseconds, divided by `per`."""
    return min(timeit.repeat(work, number=REPEATS, repeat=ROUNDS)) / REPEATS / per * 1e6


def bare_hashes(count: int, size: int) -> Callable[[], object]:
    """Return work that hashes `count` messages of `size` bytes and does nothing else."""
    messages = [bytes([number % 256]) * size for number in range(count)]
    return lambda: [hashlib.sha256(message).digest() for message in messages]


def report(name: str, work: Callable[[], object], per: int = LEAVES) -> None:
    """Print one line: the name and the microseconds per leaf."""
    print(f"{name:<58}{microseconds(work, per):8.2f} us per leaf")


def shares(clients: int) -> list[range]:
    """Return the indices of each of several clients whose transactions arrived in turn."""
    return [range(first, LEAVES, clients) for first in range(clients)]


def main() -> None:
    """Measure and print."""
    leaves = [number.to_bytes(2, "big") * (LEAF_BYTES // 2) for number in range(LEAVES)]
    hashes = merkle.leaf_hashes(leaves)
    tree = merkle.Tree(hashes)
    report(f"bare SHA-256 of {LEAF_BYTES + 1} bytes", bare_hashes(LEAVES, LEAF_BYTES + 1))
    report("bare SHA-256 of 65 bytes", bare_hashes(LEAVES, 65))
    report(f"root of {LEAVES} leaves of {LEAF_BYTES} bytes", lambda: merkle.root(leaves))
    report("root of leaves already hashed", lambda: merkle.root_of_hashes(hashes))
    report("tree of leaves, kept for proofs", lambda: merkle.Tree.of_leaves(leaves))
    report("every audit path of a tree", lambda: [tree.inclusion_proof(place) for place in range(LEAVES)])
    paths = [tree.inclusion_proof(place) for place in range(LEAVES)]

    def verify() -> None:
        for place, (leaf, path) in enumerate(zip(leaves, paths, strict=True)):
            merkle.verify_inclusion(tree.root, LEAVES, place, leaf, path)

    report("every audit path verified", verify)
    for clients in (1, 4, 16, 64):
        report_multiproofs(tree, hashes, clients)


def report_multiproofs(tree: merkle.Tree, hashes: list[bytes], clients: int) -> None:
    """Print what one multiproof for each of `clients` costs to make and to verify, over all leaves."""
    parts = shares(clients)
    proofs = [tree.multiproof(part) for part in parts]
    entries = [[(place, hashes[place]) for place in part] for part in parts]
    report(f"multiproofs for {clients} clients made", lambda: [tree.multiproof(part) for part in parts])

    def verify() -> None:
        for some, proof in zip(entries, proofs, strict=True):
            merkle.verify_multiproof(tree.root, LEAVES, some, proof)

    report(f"multiproofs for {clients} clients verified", verify)
    carried = sum(32 * len(proof.hashes) for proof in proofs) / LEAVES
    print(f"{f'multiproofs for {clients} clients carry':<58}{carried:8.1f} bytes per leaf")


if __name__ == "__main__":
    main()
