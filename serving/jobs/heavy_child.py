"""The child of :mod:`serving.jobs.heavy`: reads calls from a channel, runs them, writes the answers."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from typing import IO, Any

from crm.errors import VigieError
from serving.http.logs import start_logging
from serving.http.problems import Refusal
from serving.jobs.heavy import HEADER

_LOG = logging.getLogger("vigie.heavy")


def main() -> None:
    """Serve calls on the channel whose number is the first argument, until it ends."""
    # Ctrl-C reaches the whole group; this process ends when its parent does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(int(sys.argv[2]))
    start_logging()
    channel = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")
    calls: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_receive, args=(channel, calls), daemon=True).start()
    content = b""  # the first message only says that calls may come
    while True:
        channel.write(len(content).to_bytes(HEADER, "big") + content)
        channel.flush()
        content = _answer(calls.get())


def _receive(channel: IO[bytes], calls: queue.Queue[bytes]) -> None:
    """Put calls into a queue; where the parent is gone, go at once, in the middle of whatever runs."""
    with contextlib.suppress(OSError):
        while len(header := channel.read(HEADER)) == HEADER:
            calls.put(channel.read(int.from_bytes(header, "big")))
    os._exit(0)


def _answer(message: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(message)
        return _pickled("answer", function(*arguments))
    except (VigieError, Refusal) as error:
        return _pickled("refusal", error)
    except Exception as error:
        _LOG.exception("heavy_failed")
        return _pickled("failure", f"{type(error).__name__} in the process that computes figures")


def _pickled(kind: str, value: Any) -> bytes:
    return pickle.dumps((kind, value), pickle.HIGHEST_PROTOCOL)
