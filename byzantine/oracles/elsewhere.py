"""The second execution in another process: another order of sets, another time zone, another directory.

What lives here: one helper process that executes chains anew as long as it is wanted, and its two ends. What
must not be known here: who asks, and what a difference means.

Replicas that share a process agree about what differs between processes: the order of a set of texts, which
`hash` decides, most of all. On two machines they would not.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

import msgspec
from msgspec import Struct

from byzantine.oracles.reexecution import first_difference
from crypto.digest import Digest
from ledger.block import Block
from ledger.errors import LedgerError
from ledger.genesis import Genesis

_LENGTH_BYTES = 8

OTHERWISE = {
    "TZ": "TST-13",
    "LC_ALL": "C",
    "HOME": "/nowhere",
    "USER": "somebody",
    "LOGNAME": "somebody",
    "HOSTNAME": "elsewhere",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What is different there, beside the seed of `hash` and the working directory. What the system itself calls
the machine is the same: only another machine would show that."""


class Unavailable(Exception):
    """There is no answer: the process did not start, ended, or cannot import the application. One line."""


class _Task(Struct):
    genesis: Genesis
    path: list[str]
    blocks: list[Block]
    hashes: list[Digest]


class _Answer(Struct):
    difference: str | None = None
    unavailable: str = ""


class Elsewhere:
    """Another process for executing chains anew. Started at the first use; `close` ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def first_difference(
        self, genesis: Genesis, blocks: Sequence[Block], hashes: Sequence[Digest]
    ) -> str | None:
        """Return what `reexecution.first_difference` gives there. Raises `Unavailable`."""
        task = _Task(genesis, [os.path.abspath(place) for place in sys.path], list(blocks), list(hashes))
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise Unavailable("it has no pipes")
        try:
            _write(process.stdin, msgspec.msgpack.encode(task))
            answer = msgspec.msgpack.decode(_read(process.stdout), type=_Answer)
        except (OSError, EOFError):
            self.close()
            raise Unavailable("the process in which blocks are executed anew has ended") from None
        except BaseException:
            # Interrupted: what it answers now would be taken for the next answer.
            self.close()
            raise
        if answer.unavailable:
            raise Unavailable(answer.unavailable)
        return answer.difference

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
            path = os.pathsep.join(os.path.abspath(place) for place in sys.path)
            environment = {**os.environ, **OTHERWISE, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "byzantine.oracles.elsewhere"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=tempfile.gettempdir(),
                    env=environment,
                )
            except OSError as error:
                raise Unavailable(f"no other process could be started: {error}") from None
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    head = pipe.read(_LENGTH_BYTES)
    data = pipe.read(int.from_bytes(head, "big")) if len(head) == _LENGTH_BYTES else b""
    if not data:
        raise EOFError
    return data


def _answered(task: _Task) -> _Answer:
    # Imported from where the asking process would: its path may have grown since this one was started.
    sys.path[:] = task.path
    try:
        return _Answer(first_difference(task.genesis, zip(task.blocks, task.hashes, strict=True)))
    except LedgerError as error:
        return _Answer(unavailable=str(error))


def main() -> None:
    """Answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
    # What an application prints is no answer.
    os.dup2(2, 1)
    while True:
        try:
            asked = _read(sys.stdin.buffer)
        except EOFError:
            return
        _write(answers, msgspec.msgpack.encode(_answered(msgspec.msgpack.decode(asked, type=_Task))))


if __name__ == "__main__":
    main()
