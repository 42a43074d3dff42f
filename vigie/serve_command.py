"""The command that serves scores, lists and figures over HTTP."""

from __future__ import annotations

import ipaddress
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
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            envvar="VIGIE_HISTORY",
            metavar="PATH|URL",
            help="The history store: records by id, lists, figures, ingest, and the keys of callers.",
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", envvar="VIGIE_CONFIG", metavar="FILE", help="The settings, as TOML."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Processes that answer; each takes some 300 MB.")
    ] = 1,
    registry: Annotated[
        str | None,
        typer.Option(
            "--registry",
            envvar="VIGIE_REGISTRY",
            metavar="URI",
            help="MLflow's registry, to follow its champion.",
        ),
    ] = None,
) -> None:
    """Serve scores, lists, forecasts and KPIs over HTTP until stopped (Ctrl-C).

    Without a history store it scores what it is sent, for programs of this machine.

    ```console
    vigie serve --bundle bundle --port 3000
    vigie keys add crm --role crm --history crm.sqlite
    vigie serve --history crm.sqlite --host 0.0.0.0 --workers 2
    ```
    """
    from serving.bundle import ModelBundle
    from serving.settings import CONFIG_VARIABLE, read_service_settings

    if settings is not None:
        read_service_settings({CONFIG_VARIABLE: str(settings)})
    # What is registered may be newer than what lies here, or nothing may lie here yet.
    version = "of the registry" if registry is not None else ModelBundle.load(bundle).version
    has_keys = history is not None and _has_keys(history)
    check_port(host, port)
    tell_address(host, port, version)
    tell_access(host, history, has_keys=has_keys)
    more = {"VIGIE_WORKERS": str(workers)}
    for name, value in (("VIGIE_HISTORY", history), ("VIGIE_REGISTRY", registry)):
        more[name] = "" if value is None else value
    if settings is not None:
        more[CONFIG_VARIABLE] = str(settings.absolute())
    become_server(bundle, host, port, **more)


def _has_keys(history: str) -> bool:
    """Say whether any key was made; the store must be there, and of the newest schema."""
    from crm.store.service.engine import ServiceStore
    from crm.store.service.keys import any_key

    store = ServiceStore.open(history, pool_size=1)
    try:
        with store.reading() as connection:
            return any_key(connection)
    finally:
        store.close()


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


def tell_access(host: str, history: str | None, *, has_keys: bool) -> None:
    """Say who is answered."""
    if has_keys:
        said = "Callers need a key (vigie keys list shows which there are)."
    else:
        how = (
            "start with --history, whose store holds the keys"
            if history is None
            else f"make one: vigie keys add NAME --role ROLE --history {_shown(history)}"
        )
        said = f"No key has been made: only programs of this machine are answered. To let others in, {how}."
        if not _is_loopback(host):
            said = f"{said}\nIt listens on {host} all the same; who asks from another machine gets 401."
    output().print(Text(said), soft_wrap=True)


def _shown(history: str) -> str:
    from crm.store.address import StoreAddress

    return str(StoreAddress.parse(history))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def become_server(bundle: Path, host: str, port: int, **more: str) -> NoReturn:
    """Become the server, so that signals reach it and nothing of this process stays in memory.

    Parameters
    ----------
    bundle : Path
    host : str
    port : int
    **more : str
        Further variables of its environment.
    """
    # BentoML reads these before anything of ours runs. Its home holds the numbers of the workers, so each
    # server on a machine needs one of its own; it is emptied at each start.
    home = os.environ.get("BENTOML_HOME") or str(Path.home() / "bentoml" / f"vigie-{port}")
    own = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": home, "VIGIE_BUNDLE": str(bundle.absolute())}
    arguments = ["serve", "serving.service:Vigie", "--host", host, "--port", str(port)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "bentoml", *arguments], os.environ | own | more)
