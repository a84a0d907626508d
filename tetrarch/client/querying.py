"""Questions to the application: enough replicas give the same answer, and then it is believed.

What lives here: counting who said what. What must not be known here: what questions and answers mean.

Nothing of an answer is proven by itself. What stands for it is that f+1 different members gave the same
bytes: one of them is correct, and its answer was true at its head. Heads move, so that correct members may
differ for a while: what each of them said before still counts, since it was true of the head it said it of.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from crypto.attestation import Height
from crypto.digest import Digest, digest
from crypto.roster import MemberId
from ledger.application import MAX_QUESTION_BYTES
from ledger.refusals import RefusalCode
from tetrarch.client.links import Link
from tetrarch.client.outcome import Payload, payload_bytes
from tetrarch.client.proof import ReplicaFault
from tetrarch.client.reading import height_of
from tetrarch.client.session import Session, longer
from tetrarch.errors import NotEnoughReplies, Rejected
from tetrarch.wire import AskQuery, NoAnswer, QueryReply, Unknown


class Answered(Struct, frozen=True):
    """The application's answer to one question, as f+1 members gave it in the same bytes."""

    raw: bytes
    height: Height
    """The lowest head among these members: the answer is true as of some block from this one on."""
    members: tuple[MemberId, ...]
    """Who said it."""

    @property
    def value(self) -> Any:
        """The answer decoded from JSON.

        Raises `ValueError` where an application of one's own answers with something else (see `raw`).
        """
        return msgspec.json.decode(self.raw)


class _Said:
    """What members have said of one question so far."""

    def __init__(self, session: Session, min_height: Height) -> None:
        self._session = session
        self._min_height = min_height
        self._need = session.trust.acceptance
        self._answers: dict[Digest, dict[MemberId, Height]] = {}
        self._none: dict[str, dict[MemberId, str]] = {"invalid": {}, "error": {}}
        self._replied: set[MemberId] = set()
        self.answered: Answered | None = None

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to ask."""
        return self.answered is not None or any(len(said) >= self._need for said in self._none.values())

    @property
    def most(self) -> int:
        """How many agree at best."""
        answers = max((len(heights) for heights in self._answers.values()), default=0)
        return max(answers, *(len(reasons) for reasons in self._none.values()))

    def may_settle(self, waiting: int) -> bool:
        """Whether so many more words may be enough."""
        return self.most + waiting >= self._need

    def take(self, link: Link, word: object) -> None:
        """Count what a member said. It is distrusted for a head below what was asked for."""
        if isinstance(word, Unknown):
            self._replied.add(link.member)
        if not isinstance(word, QueryReply | NoAnswer):
            return
        if word.height < self._min_height:
            what = f"as of height {word.height}, where {self._min_height} was asked for"
            self._session.distrust(link, ReplicaFault("answer", what))
            return
        self._replied.add(link.member)
        if isinstance(word, NoAnswer):
            self._none[word.code][link.member] = word.reason
            return
        # A member's word may come again as of a later head; the digest alone is kept of what is not believed.
        heights = self._answers.setdefault(digest("client-answer", word.answer), {})
        heights[link.member] = max(word.height, heights.get(link.member, word.height))
        if len(heights) >= self._need and self.answered is None:
            self.answered = Answered(word.answer, min(heights.values()), tuple(sorted(heights)))

    def result(self) -> Answered:
        """Return what is believed. Raises `Rejected`, `NotEnoughReplies`, `Unreachable`."""
        if self.answered is not None:
            return self.answered
        invalid, failed = self._none["invalid"], self._none["error"]
        if len(invalid) >= self._need:
            raise Rejected(RefusalCode.INVALID.value, next(iter(invalid.values())))
        if len(failed) >= self._need:
            why = "the application fails at this question; the replicas' logs say at what"
            raise NotEnoughReplies(0, self._need, why)
        why = f"as of height {self._min_height} or later; {len(self._replied)} replied, {self.most} the same"
        raise self._session.shortfall(self.most, self._need, why)


async def query(session: Session, question: Payload, min_height: int, deadline: float) -> Answered:
    """Return the application's answer to `question`, as f+1 members gave it at `min_height` or above.

    Raises `Rejected` where f+1 members find the question invalid, `Unreachable`, `NotEnoughReplies`,
    `ForkDetected`; `ValueError` and `TypeError` for arguments that cannot be.
    """
    asked, wanted = question_bytes(question), height_of(min_height, "min_height")
    said = _Said(session, wanted)
    loop = asyncio.get_running_loop()
    pause, first = 0.0, session.trust.acceptance
    while loop.time() + pause < deadline:
        await asyncio.sleep(pause)
        pause = longer(pause)
        await session.connect(deadline)
        patience = min(session.tuning.answer_ms / 1000, deadline - loop.time())
        # Who was silent when last asked comes last: it would be waited for.
        links = sorted(session.links.in_turn(), key=lambda link: link.silent)
        await _ask(session, links[:first], links[first:], AskQuery(0, asked, wanted), patience, said)
        if said.settled:
            break
        first = len(session.links.all)
    return said.result()


async def _ask(
    session: Session, links: list[Link], others: list[Link], question: AskQuery, patience: float, said: _Said
) -> None:
    """Ask `links`, and the `others` too as soon as these cannot be enough, until it is settled."""

    async def ask(link: Link) -> tuple[Link, object]:
        def numbered(request: int) -> AskQuery:
            return msgspec.structs.replace(question, request=request)

        return link, await link.ask(numbered, patience)

    asking = {asyncio.ensure_future(ask(link)) for link in links}
    try:
        while asking and not said.settled:
            done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            # In one order: several are silent at the same time, and a set has none.
            for link, word in sorted((task.result() for task in done), key=lambda said: said[0].member):
                session.links.heard(link, answered=word is not None)
                said.take(link, word)
            session.require_one_chain()
            if others and not said.may_settle(len(asking)):
                asking |= {asyncio.ensure_future(ask(link)) for link in others}
                others = []
    finally:
        for task in asking:
            task.cancel()


def question_bytes(question: Payload) -> bytes:
    """Return a question as the application gets it. Raises `TypeError`, `ValueError` for what cannot be one.

    Checked here, since a replica closes the connection on a question that is too long.
    """
    if not isinstance(question, bytes | Mapping):
        raise TypeError(f"a question is a JSON object or bytes, not {type(question).__name__}")
    asked = payload_bytes(question)
    if len(asked) > MAX_QUESTION_BYTES:
        raise ValueError(f"a question has at most {MAX_QUESTION_BYTES} bytes, not {len(asked)}")
    return asked
