"""What ends a command that runs an event loop: wherever it is, it is heard."""

import subprocess
import sys

import pytest

PATIENCE = 60.0
"""Seconds a program may take; it takes a third of one."""

PROGRAM = """
import asyncio, os, signal, sys
from tetrarch.event_loop import run
from tetrarch.signals import end_like_interrupt

class EndedByWhatItReads(asyncio.Protocol):
    def data_received(self, data):
        os.kill(os.getpid(), signal.SIGTERM)

async def work(seconds):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EndedByWhatItReads, "127.0.0.1", 0)
    _, port = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
    transport.write(b"now")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print("put away")
        END

LOOP
signal.signal(signal.SIGINT, signal.SIGINT_IS)
end_like_interrupt()
try:
    run(work(float(sys.argv[1])))
except KeyboardInterrupt:
    print("interrupted")
"""

ENDS = ["raise", "return", 'raise OSError("and something else went wrong")']
"""How work may end once it is cancelled."""

LOOPS = {"uvloop": "", "asyncio": 'sys.modules["uvloop"] = None'}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sigint", ["default_int_handler", "SIG_IGN"])
def test_sigterm_ends_what_runs_even_while_a_connection_reads(sigint: str, loop: str, end: str) -> None:
    program = PROGRAM.replace("SIGINT_IS", sigint).replace("LOOP", LOOPS[loop]).replace("END", end)
    command = [sys.executable, "-c", program, str(10 * PATIENCE)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert ended.stdout.splitlines() == ["put away", "interrupted"]
    assert (ended.returncode, ended.stderr) == (0, "")
