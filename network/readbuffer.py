"""Where bytes are read to: one buffer for all channels of a thread.

Its event loop asks for the buffer, fills it and hands it over without doing anything in between. Loops in
other threads do, since the interpreter's lock is released to read: hence one for each.
"""

import threading
from typing import Final

READ_BYTES: Final = 256 * 1024
"""Read from a socket at a time: as much as asyncio does by itself, without a new buffer each time."""


class _ReadBuffer(threading.local):
    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES))


_buffer: Final = _ReadBuffer()


def read_buffer() -> memoryview:
    """Return the calling thread's."""
    return _buffer.view
