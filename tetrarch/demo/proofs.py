"""The demo's proofs: a receipt and four stores, verified without any network.

What lives here: what an auditor and a holder of a receipt do. What must not be known here: how it is shown.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.audit.report import Report, Verdict
from ledger.genesis import Genesis
from ledger.result import ResultCode
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.receipt import Receipt
from tetrarch.demo.damage import Flip, copy_and_flip
from tetrarch.demo.story import StepFailed, Story
from tetrarch.errors import VerificationError
from tetrarch.layout import GENESIS_FILE, STORE
from tetrarch.processes import LocalNetwork
from tetrarch.trust import TrustRoot


async def keep_receipt(story: Story, client: AsyncClient) -> Path:
    """Save the receipt of the last transfer that was executed."""
    executed = [
        line.outcome
        for line in story.outcomes
        if line.outcome is not None and line.outcome.result and line.outcome.result.code is ResultCode.OK
    ]
    path = story.directory / "transfer.receipt"
    receipt = await client.receipt(executed[-1].tx_id)
    receipt.save(path)
    return path


def verify_receipt(story: Story, path: Path) -> None:
    """Verify the receipt without any network, and see that a changed one is refused."""
    with story.narrator.step("A receipt, verified offline"):
        trust = TrustRoot.load(story.net / GENESIS_FILE)
        verification = Receipt.load(path).verify(trust)
        names = ", ".join(trust.genesis.members[member].name for member in verification.signers)
        story.narrator.say(f"height {verification.height}, signed by {names}; {verification.need} are enough")
        changed = path.with_name("changed.receipt")
        text = path.read_text()
        changed.write_text(text.replace('"proposed": ', '"proposed": 1', 1))
        try:
            Receipt.load(changed).verify(trust)
        except VerificationError as error:
            story.narrator.say(f"one digit changed: not valid, {error.check} does not hold")
        else:
            raise StepFailed("a changed receipt was found valid")
        story.facts["receipt"] = str(path)


Audit = Callable[[Path, Genesis], Report]
"""Audits one store at level full."""


def audit_all(story: Story, network: LocalNetwork, audit: Audit) -> None:
    """Stop the replicas, and audit all their stores: everything is recomputed."""
    with story.narrator.step("All four stores, audited offline"):
        network.stop()
        heads = set()
        for replica in network.replicas:
            report = audit(replica.directory / STORE, network.genesis)
            story.require(
                report.verdict is not Verdict.INVALID,
                f"{replica.name}: {report.faults[0].what}" if report.faults else f"{replica.name} is invalid",
            )
            heads.add((report.height, report.head))
            story.narrator.say(
                f"{replica.name}: {report.verdict.value}, {report.blocks} blocks,"
                f" {report.transactions:,} transactions re-executed"
            )
        story.require(len(heads) == 1, "the stores end in different heads")
        story.facts["audited_stores"] = len(network.replicas)


def flip_and_audit(story: Story, network: LocalNetwork, audit: Audit) -> None:
    """Flip one bit in a copy of one store: the audit must name it."""
    with story.narrator.step("One bit flipped in a copy of one store"):
        replica = network.replicas[-1]
        copy = story.directory / "flipped-store"
        flip = copy_and_flip(replica.directory / STORE, copy, b'"op":"transfer"')
        report = audit(copy, network.genesis)
        story.require(report.verdict is Verdict.INVALID, "the audit did not find the flipped bit")
        fault = report.faults[0]
        story.narrator.say(
            f"{flip.file.name}, byte {flip.offset:,}: {flip.before:#04x} became {flip.after:#04x}"
        )
        where = "" if fault.height is None else f" at height {fault.height}"
        story.narrator.say(f"the audit: {fault.family}{where}, {fault.field}: {fault.what}")
        story.facts |= {"flipped": _flip_facts(flip), "found": {"field": fault.field, "what": fault.what}}


def _flip_facts(flip: Flip) -> dict[str, Any]:
    return {"file": str(flip.file), "offset": flip.offset}
