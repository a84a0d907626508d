"""The node and the ledger, broken: durability, admission, answering, and what a batch does to the state."""

from byzantine.mutants.edit import Edit, Mutant

_ADMISSION, _EXECUTOR = "tetrarch.node.admission", "ledger.executor"

MUTANTS = (
    Mutant(
        "attest-the-state-before",
        (8,),
        "A header holds the state root from before its block: what the block did to the state is attested "
        "nowhere.",
        (
            Edit(
                "ledger.ledger",
                "Ledger.execute",
                "state_root=pending.root,",
                "state_root=self._state.root,",
            ),
        ),
    ),
    Mutant(
        "send-before-the-sync",
        (16,),
        "Votes and replies leave the machine while what they rest on is not synced.",
        (
            Edit(
                "tetrarch.node.durability",
                "GroupSync.add",
                "self._held.append(_Held(effects, self._begun + 1 if effects.sync else earlier))\n"
                "        return self._release()",
                "self._held.append(_Held(Effects(), self._begun + 1 if effects.sync else earlier))\n"
                "        return [effects]",
            ),
        ),
    ),
    Mutant(
        "answer-reads-as-primary-alone",
        (19,),
        "Only the primary proves what stands in the state: a faulty one blocks all readers.",
        (
            Edit(
                "tetrarch.node.gateway",
                "Gateway._read",
                "if head is None or",
                "if head is None or self._engine.status().leader != self._identity.member or",
            ),
        ),
    ),
    Mutant(
        "execute-repeated-ids",
        (20,),
        "A transaction that an earlier block executed is executed again when it is ordered again.",
        (Edit(_EXECUTOR, "execute_batch", "elif first_height is not None:", "elif False:"),),
    ),
    Mutant(
        "execute-expired-transactions",
        (20,),
        "A transaction is executed though its time is over, and its sender may have been told so for good.",
        (Edit(_EXECUTOR, "execute_batch", "if parsed.transaction.valid_until < time:", "if False:"),),
    ),
    Mutant(
        "let-block-time-go-back",
        (27,),
        "A block's time is its proposal's, also where that lies before its parent's.",
        (Edit("ledger.block", "block_time", "max(proposed, parent_time + 1)", "proposed"),),
    ),
    Mutant(
        "stop-at-a-failing-application",
        (31,),
        "What an application raises and should not stops every replica at the same block.",
        (
            Edit(
                _EXECUTOR, "_execute", "except BaseException as error:", "except (Invalid, Refused) as error:"
            ),
        ),
    ),
    Mutant(
        "keep-what-a-failing-transaction-wrote",
        (31,),
        "What a transaction wrote before it failed stays, and joins the next one's writes.",
        (
            Edit(
                _EXECUTOR,
                "_execute",
                "view.drop()\n        if view.fault is not None:",
                "if view.fault is not None:",
            ),
        ),
    ),
    Mutant(
        "remember-invalid-ids",
        (32,),
        "After bytes with a bad signature their id is refused: who attaches one to another's transaction "
        "keeps it out.",
        (
            Edit(
                _ADMISSION,
                "Admission.settle",
                "self._answer_refused(entry, _BAD_SIGNATURE)",
                'self.__dict__.setdefault("spoiled", set()).add(entry.parsed.id)\n'
                "                self._answer_refused(entry, _BAD_SIGNATURE)",
            ),
            Edit(
                _ADMISSION,
                "Admission.offer",
                "known = held.get(parsed.id)",
                'if parsed.id in self.__dict__.get("spoiled", ()):\n'
                "                self._refuse(origin, raw, _BAD_SIGNATURE)\n"
                "                continue\n"
                "            known = held.get(parsed.id)",
            ),
        ),
    ),
)
