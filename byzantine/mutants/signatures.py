"""Signatures, certificates and canonical bytes, broken."""

from byzantine.mutants.edit import Edit, Mutant

_SIGNED, _ROSTER = "crypto.signed", "crypto.roster"
_GROUP_ORDER = "(2**252 + 27742317777372353535851937790883648493)"

MUTANTS = (
    Mutant(
        "count-signatures",
        (17,),
        "Certificates are counted by their signatures: one member may sign for all.",
        (
            Edit(_SIGNED, "certificate_checks", "a >= b", "a > b"),
            Edit("pbft.door", "Door._view_changes", "a >= b", "a > b"),
            Edit(
                _ROSTER,
                "Roster.require",
                "{member for member in members if 0 <= member < len(self.keys)}",
                "[member for member in members if 0 <= member < len(self.keys)]",
            ),
        ),
    ),
    Mutant(
        "count-votes",
        (17,),
        "A member that repeats its vote is counted again.",
        (
            Edit(
                "consensus.votes",
                "Votes.add",
                "return None if earlier.message == vote.message else earlier",
                "again = earlier is not vote and earlier.message == vote.message\n"
                "        self._by_member.update({-len(self._by_member) - 1: vote} if again else {})\n"
                "        return None if earlier.message == vote.message else earlier",
            ),
        ),
    ),
    Mutant(
        "sign-without-the-kind",
        (18,),
        "A signature does not bind what kind of statement it is under: a PREPARE can be shown as a COMMIT.",
        (Edit(_ROSTER, "_binding", "tag(kind)", 'tag("statement")'),),
    ),
    Mutant(
        "sign-without-the-chain",
        (18,),
        "A signature does not bind the chain: what the same members said on another one counts here.",
        (Edit(_ROSTER, "_binding", "tag(kind) + chain_id +", "tag(kind) +"),),
    ),
    Mutant(
        "certify-another-batch",
        (18,),
        "A served block may carry the commit certificate of any other batch.",
        (
            Edit(
                "pbft.certificates",
                "CommitVerifier.checks",
                "if commit.sequence != height or commit.digest != batch:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "sign-without-the-epoch",
        (18, 21),
        "A statement of another epoch, in which the same keys were members, counts in this one.",
        (
            Edit(_ROSTER, "_binding", '+ epoch.to_bytes(4, "big")', ""),
            Edit(_SIGNED, "envelope_check", "if envelope.epoch != roster.epoch:", "if False:"),
            Edit(_SIGNED, "certificate_checks", "if certificate.epoch != roster.epoch:", "if False:"),
        ),
    ),
    Mutant(
        "fall-over-another-epoch",
        (21,),
        "A message of another epoch has no fate: it stops whoever receives it.",
        (
            Edit(
                _SIGNED,
                "envelope_check",
                'raise CertificateError(f"epoch {envelope.epoch}, the roster is of epoch {roster.epoch}")',
                'raise LookupError(f"epoch {envelope.epoch}, the roster is of epoch {roster.epoch}")',
            ),
        ),
    ),
    Mutant(
        "register-any-key",
        (22,),
        "Public keys of low or mixed order are registered, and may send transactions.",
        (
            Edit(
                "crypto.keys",
                "check_public_key",
                "if not bindings.crypto_core_ed25519_is_valid_point(bytes(key)):",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "accept-malleable-signatures",
        (22,),
        "The group order may be added to a signature, as a second Ed25519 library would allow.",
        (
            Edit(
                "crypto.keys",
                "verify",
                "bindings.crypto_sign_open(signature + signed, key)",
                f'scalar = int.from_bytes(signature[32:], "little") % {_GROUP_ORDER}\n'
                '        signature = signature[:32] + scalar.to_bytes(32, "little")\n'
                "        bindings.crypto_sign_open(signature + signed, key)",
            ),
        ),
    ),
    Mutant(
        "accept-any-encoding",
        (23,),
        "Bytes are accepted that are not the one canonical encoding of what they say.",
        (Edit("crypto.codec", "StrictDecoder.decode", "if _encoder.encode(value) != data:", "if False:"),),
    ),
    Mutant(
        "keep-votes-in-order-of-arrival",
        (28,),
        "A certificate lists its votes in the order in which they happened to come.",
        (
            Edit(
                "consensus.votes",
                "Votes.matching",
                "sorted(m for m, vote in votes.items() if vote.message == message)",
                "[m for m, vote in votes.items() if vote.message == message]",
            ),
            Edit(
                _SIGNED,
                "make_certificate",
                "tuple(sorted(votes, key=lambda vote: vote.signer))",
                "tuple(votes)",
            ),
        ),
    ),
)
