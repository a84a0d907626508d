"""Alarms share one timer: each rings once, none before its moment, and none is lost to another's."""

import asyncio

from tetrarch.client.alarms import Alarms


def ring_all(*after: float, later: float | None = None) -> list[tuple[float, bool]]:
    """Set alarms so many seconds ahead; return them as they ring, and whether each was due by then. The
    first to ring sets one more, `later` seconds ahead."""

    async def main() -> list[tuple[float, bool]]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        rung: list[tuple[float, bool]] = []
        wanted = len(after) + (later is not None)
        done = loop.create_future()

        def ring(what: float) -> None:
            if later is not None and not rung:
                alarms.set(began + later, later)
            rung.append((what, loop.time() >= began + what))
            if len(rung) == wanted:
                done.set_result(None)

        alarms = Alarms(ring)
        for seconds in after:
            alarms.set(began + seconds, seconds)
        await asyncio.wait_for(done, 10)
        return rung

    return asyncio.run(main())


def test_alarms_ring_in_the_order_of_their_moments_and_none_too_early() -> None:
    assert ring_all(0.03, 0.001, 0.0, 0.06) == [(0.0, True), (0.001, True), (0.03, True), (0.06, True)]


def test_an_alarm_set_while_another_rings_is_not_lost() -> None:
    assert ring_all(0.0, 0.05, later=0.01) == [(0.0, True), (0.01, True), (0.05, True)]


def test_what_was_cleared_does_not_ring() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        rung: list[int] = []
        alarms = Alarms(rung.append)
        alarms.set(loop.time(), 1)
        alarms.clear()
        marker: asyncio.Future[None] = loop.create_future()
        other: Alarms[int] = Alarms(lambda _: marker.set_result(None))
        other.set(loop.time() + 0.01, 2)
        await asyncio.wait_for(marker, 10)
        return rung

    assert asyncio.run(main()) == []
