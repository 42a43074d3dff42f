"""The command that keeps a directory holding the registry's champion."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Annotated

import typer

from vigie.options import DEFAULT_BUNDLE, DEFAULT_TRACKING, BundleOption, TrackingOption


def follow(
    bundle: BundleOption = DEFAULT_BUNDLE,
    tracking: TrackingOption = DEFAULT_TRACKING,
    every: Annotated[
        float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks at the registry.")
    ] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", hidden=True, help="End when the standard input does.")
    ] = False,
) -> None:
    """Write the registry's champion into a directory whenever it changes, for services that serve from there.

    A champion that cannot be read, or does not answer as it must, is logged, and the directory stays as it
    is. With `vigie serve --registry URI` the service runs this itself.

    ```console
    vigie follow --tracking sqlite:///mlflow.db --bundle bundle
    vigie follow --once
    ```
    """
    # Else a server that is gone would be tried for minutes, with nothing said.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _end)
    from serving.http.logs import start_logging
    from training.following import Follower
    from training.tracking_store import locate

    start_logging()
    # An address that is none is told now; what is only out of reach may come back.
    locate(tracking)
    follower = Follower(tracking, bundle.absolute())
    while True:
        follower.look()
        if once:
            return
        time.sleep(every)


def _end(_number: int, _frame: FrameType | None) -> None:
    # A bundle that is being written is there whole or not at all, and what was begun goes with this process.
    sys.exit(0)


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
