"""What a forked worker does, and how it speaks with its parent: framed pickles in pipes."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

LONGEST_SILENCE: Final = 0.05
"""Seconds after which a worker sends what it has: progress shows, and little waits in memory."""

READ: Final = 256 * 1024
"""Bytes taken from a pipe at once."""

_FRAME: Final = struct.Struct("!I")


def serve(
    work: Callable[[Any], Any],
    known: Sequence[Any] | None,
    inbox: int,
    outbox: int,
    not_ours: list[int],
) -> None:
    """A worker's life; ends the process, whatever happens, without the parent's clean-up."""
    status = 1
    try:
        # Ctrl-C reaches the whole group; the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.freeze()
        for fd in not_ours:
            os.close(fd)
        received = bytearray()
        while data := os.read(inbox, READ):
            received += data
            for message in messages(received):
                batch = unframed(message)
                if isinstance(batch, range):
                    assert known is not None
                    batch = known[batch.start : batch.stop]
                _answer(work, batch, outbox)
        status = 0
    finally:
        os._exit(status)


def _answer(work: Callable[[Any], Any], batch: Sequence[Any], outbox: int) -> None:
    """Do a batch and send results, at the latest some time after the first of them."""
    results: list[Any] = []
    sent = time.monotonic()
    try:
        for item in batch:
            results.append(work(item))
            if (seconds := time.monotonic() - sent) > LONGEST_SILENCE:
                _write(outbox, frame((results, None, False, seconds)))
                results.clear()
                sent = time.monotonic()
        message = frame((results, None, True, time.monotonic() - sent))
    except BaseException as error:
        message = _failure(results, error)
    _write(outbox, message)


def _failure(results: list[Any], error: BaseException) -> bytes:
    """What was done before an error, and the error, or its text where it does not pickle."""
    try:
        message = frame((results, error, True, 0.0))
        unframed(message[_FRAME.size :])  # some exceptions pickle one way only
    except Exception:
        return frame(([], RuntimeError(f"{type(error).__name__}: {error}"), True, 0.0))
    return message


def unframed(message: bytes) -> Any:
    """The value of a message, which only our own parent or child can have written."""
    return pickle.loads(message)  # noqa: S301


def frame(value: object) -> bytes:
    """A value as one message."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _FRAME.pack(len(data)) + data


def messages(received: bytearray) -> list[bytes]:
    """Whole messages at the start of ``received``, which loses them."""
    found = []
    while len(received) >= _FRAME.size:
        (length,) = _FRAME.unpack_from(received)
        end = _FRAME.size + length
        if len(received) < end:
            break
        found.append(bytes(received[_FRAME.size : end]))
        del received[:end]
    return found


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
