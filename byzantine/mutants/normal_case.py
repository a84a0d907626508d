"""The normal case, broken: proposing, the two votes, what backs them, and delivery in order."""

from byzantine.mutants.edit import Edit, Mutant

_HERE = "pbft.normal_case"

MUTANTS = (
    Mutant(
        "skip-null-requests",
        (4,),
        "A null request is passed over at its turn: no empty block is stored for its sequence number.",
        (
            Edit(
                _HERE,
                "deliver",
                "if content is None or content.missing or content.requests is None:",
                "if content is not None and not content.ids and content.timestamp == 0:\n"
                "            state.delivered = slot.sequence\n"
                "            continue\n"
                "        if content is None or content.missing or content.requests is None:",
            ),
        ),
    ),
    Mutant(
        "prepare-without-bodies",
        (6,),
        "A backup votes for a batch of which it holds the ids alone.",
        (Edit(_HERE, "_ready_content", "if content is None or content.missing:", "if content is None:"),),
    ),
    Mutant(
        "drop-above-the-high-watermark",
        (7,),
        "A message just above the high watermark is dropped, and nobody is told that it was missed.",
        (
            Edit(_HERE, "bounded_slot", "sequence > state.horizon", "sequence > state.high"),
            Edit("pbft.replica", "Pbft.receive", "if reason is Ignored.ABOVE_WATERMARK:", "if False:"),
        ),
    ),
    Mutant(
        "keep-all-above-the-high-watermark",
        (7,),
        "Whatever lies above the high watermark is kept, however far.",
        (Edit(_HERE, "bounded_slot", "sequence > state.horizon", "False"),),
    ),
    Mutant(
        "prepare-before-the-proposal-is-durable",
        (16,),
        "PREPARE leaves while nothing on the disk says for which proposal it was.",
        (
            Edit(
                _HERE,
                "_try_prepare",
                "state.persist(slot_key(ACCEPTED, slot.sequence), "
                "encode_record(slot.pre_prepare.envelope.bare))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "prepare-before-the-bodies-are-durable",
        (16,),
        "PREPARE leaves while the bodies that it vouches for are in memory alone.",
        (
            Edit(
                "pbft.batches",
                "make_durable",
                "state.persist(slot_key(CONTENT, slot.sequence, digest), encode_record(record))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "commit-before-the-certificate-is-durable",
        (16,),
        "COMMIT leaves while the prepared certificate that a view change must show is in memory alone.",
        (
            Edit(
                _HERE,
                "_try_commit",
                "state.persist(slot_key(PREPARED, slot.sequence), encode_record(slot.prepared))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "believe-the-named-digest",
        (18,),
        "The digest of a proposal is believed, though it does not bind sequence, timestamp and transactions.",
        (Edit("pbft.door", "Door.require_digest", "if bound != digest:", "if False:"),),
    ),
    Mutant(
        "order-any-validity",
        (20,),
        "A batch may hold transactions that stay valid beyond the horizon, so that their ids had to be "
        "remembered for ever.",
        (
            Edit(
                "pbft.batches",
                "is_acceptable",
                " and all(request.valid_until <= latest for request in requests)",
                "",
            ),
        ),
    ),
    Mutant(
        "count-the-primarys-prepare",
        (25,),
        "A PREPARE by the primary counts beside its PRE-PREPARE, so two members make a prepared certificate.",
        (
            Edit(
                _HERE,
                "on_prepare",
                "if signed.signer == primary_of(message.view, state.quorums.n):",
                "if False:",
            ),
            Edit(
                "pbft.door",
                "Door.prepared",
                "if any(vote.signer == primary for vote in proof.prepares):",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "believe-any-timestamp",
        (27,),
        "A first proposal is accepted whatever the backup's own clock says of its timestamp.",
        (
            Edit(
                _HERE,
                "on_pre_prepare",
                "if abs(message.timestamp - now.wall) > state.limits.clock_bound_ms:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "commit-without-being-prepared",
        (30,),
        "COMMIT is sent together with PREPARE, without waiting for the PREPAREs of others.",
        (Edit(_HERE, "_try_commit", "need = state.quorums.quorum - 1", "need = 0"),),
    ),
    Mutant(
        "execute-on-a-weak-quorum",
        (30,),
        "f+1 matching COMMITs decide a batch.",
        (
            Edit(
                _HERE,
                "_try_committed",
                "slot.commits.leading(state.quorums.quorum)",
                "slot.commits.leading(state.quorums.weak)",
            ),
        ),
    ),
    Mutant(
        "leave-relayed-requests-outside",
        (33,),
        "What backups relay to a primary has no room of its own, so a full pool keeps it out.",
        (
            Edit(
                "consensus.pool",
                "Pool.add",
                "self._enter_lane(relayed_by, request.id)",
                "False",
            ),
        ),
    ),
)
