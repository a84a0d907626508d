"""The client, broken: what it believes, and whom it asks."""

from byzantine.mutants.edit import Edit, Mutant

_PROOF = "tetrarch.client.proof"

MUTANTS = (
    Mutant(
        "believe-one-attestation",
        (19,),
        "A block is believed on one member's word.",
        (
            Edit(
                "tetrarch.client.witnesses",
                "Witnesses.believed",
                "len(attestations) >= self._trust.acceptance",
                "len(attestations) >= 1",
            ),
        ),
    ),
    Mutant(
        "believe-values-without-proof",
        (19,),
        "A value that is read is believed though no proof leads from it to the state root.",
        (
            Edit(
                _PROOF,
                "check_read",
                "verify_presence(root, key, frame.value, proof)",
                "pass",
            ),
        ),
    ),
    Mutant(
        "read-any-height",
        (19,),
        "A read may be older than what its caller has seen.",
        (Edit(_PROOF, "check_read", "if frame.header.height < min_height:", "if False:"),),
    ),
    Mutant(
        "believe-one-answer",
        (19,),
        "The application's answer to a question is believed from one replica.",
        (
            Edit(
                "tetrarch.client.querying",
                "_Said.take",
                "if len(heights) >= self._need and self.answered is None:",
                "if self.answered is None:",
            ),
        ),
    ),
)
