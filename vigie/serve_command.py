"""The command that serves scores over HTTP."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from crm.errors import VigieError
from vigie.console import output
from vigie.options import DEFAULT_BUNDLE, BundleOption

PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")]
DEFAULT_PORT = 3000


def serve(
    bundle: BundleOption = DEFAULT_BUNDLE,
    port: PortOption = DEFAULT_PORT,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve scores over HTTP until stopped (Ctrl-C).

    ```console
    vigie serve --bundle bundle --port 3000
    curl localhost:3000/v1/models
    ```
    """
    from serving.bundle import ModelBundle

    version = ModelBundle.load(bundle).version
    check_port(host, port)
    tell_address(host, port, version)
    become_server(bundle, host, port)


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, in words; the server itself would print a trace.

    Raises
    ------
    VigieError
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise VigieError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); choose another "
            "with --port, or stop what uses it"
        ) from error


def tell_address(host: str, port: int, version: str) -> None:
    """Say where scores are served."""
    output().print(
        Text(
            f"Serving bundle {version} on http://{host}:{port} (Ctrl-C stops it)\n"
            f"  which model:  curl http://{host}:{port}/v1/models\n"
            f"  all calls:    curl http://{host}:{port}/docs.json"
        ),
        soft_wrap=True,
    )


def become_server(bundle: Path, host: str, port: int) -> NoReturn:
    """Become the server, so that signals reach it and nothing of this process stays in memory."""
    # BentoML reads these before anything of ours runs.
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True", "VIGIE_BUNDLE": str(bundle.absolute())}
    arguments = ["serve", "serving.service:Vigie", "--host", host, "--port", str(port)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "bentoml", *arguments], environment)
