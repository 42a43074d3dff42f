"""The commands that make, list, rotate and revoke the keys of callers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from vigie.console import errors, output, print_json
from vigie.moments import clock, show
from vigie.options import DEFAULT_HISTORY, HistoryOption, JsonOption

if TYPE_CHECKING:
    from crm.store.service.engine import ServiceStore
    from crm.store.service.keys import ApiKey

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Its id or its name.")]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For people to tell it from others.")],
    role: Annotated[
        Literal["crm", "rep", "manager", "admin"],
        typer.Option(
            "--role",
            help="crm: score and ingest; rep: the own records; manager: those of teams; admin: everything.",
        ),
    ],
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="ID", help="The user whose records a rep's key sees.")
    ] = None,
    teams: Annotated[
        list[str] | None,
        typer.Option("--team", metavar="TEAM", help="A manager's team; may be repeated. Default: all."),
    ] = None,
    history: HistoryOption = DEFAULT_HISTORY,
    as_json: JsonOption = False,
) -> None:
    """Make a key; its secret is shown once, and nobody can find it out again.

    ```console
    vigie keys add salesforce --role crm
    vigie keys add ann --role rep --owner U-17
    vigie keys add north --role manager --team North
    ```
    """
    from crm.store.service.keys import add_key

    with _store(history) as store, store.writing() as connection:
        key, secret = add_key(connection, name=name, role=role, owner_id=owner, teams=teams or (), now=_now())
    _tell_secret(key, secret, as_json=as_json)


def list_(history: HistoryOption = DEFAULT_HISTORY, as_json: JsonOption = False) -> None:
    """List the keys; their secrets are not kept."""
    from crm.store.service.keys import all_keys

    with _store(history) as store, store.reading() as connection:
        found = all_keys(connection)
    if as_json:
        print_json([_plain(key) for key in found])
        return
    if not found:
        output().print(Text("No key has been made: vigie keys add NAME --role ROLE"))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "role", "sees", "made", "last used", "revoked"):
        table.add_column(column, overflow="fold")
    for key in found:
        moments = (key.created_at, key.last_used_at, key.revoked_at)
        shown = ["" if moment is None else show(moment) for moment in moments]
        cells = (key.key_id, key.name, key.role, _sees(key), *shown)
        table.add_row(*(Text(cell) for cell in cells), style="dim" if key.revoked_at else "")
    output().print(table)


def rotate(
    key: KeyArgument,
    keep_old_for: Annotated[
        float,
        typer.Option(
            "--keep-old-for", min=0, max=720, metavar="HOURS", help="The old secret goes on to work."
        ),
    ] = 0.0,
    history: HistoryOption = DEFAULT_HISTORY,
    as_json: JsonOption = False,
) -> None:
    """Give a key another secret, which is shown once.

    ```console
    vigie keys rotate salesforce --keep-old-for 24
    ```
    """
    from crm.store.service.keys import rotate_key

    with _store(history) as store, store.writing() as connection:
        found, secret = rotate_key(connection, key, _now(), keep_old_for=timedelta(hours=keep_old_for))
    _tell_secret(found, secret, as_json=as_json)


def revoke(key: KeyArgument, history: HistoryOption = DEFAULT_HISTORY, as_json: JsonOption = False) -> None:
    """End a key: within two seconds no worker lets it in any more."""
    from crm.store.service.keys import revoke_key

    with _store(history) as store, store.writing() as connection:
        found = revoke_key(connection, key, _now())
    if as_json:
        print_json(_plain(found))
        return
    output().print(Text(f"Revoked: {found.name} ({found.key_id})"))


@contextmanager
def _store(history: str) -> Iterator[ServiceStore]:
    from crm.store.service.engine import ServiceStore

    store = ServiceStore.open(history, pool_size=1)
    try:
        yield store
    finally:
        store.close()


def _now() -> datetime:
    return clock().to_pydatetime()


def _sees(key: ApiKey) -> str:
    if key.role == "rep":
        return f"the records of {key.owner_id}"
    if key.role == "manager" and key.teams:
        own = "" if key.owner_id is None else f" and {key.owner_id}"
        return f"the teams {', '.join(key.teams)}{own}"
    return "all records"


def _plain(key: ApiKey) -> dict[str, Any]:
    return {**vars(key), "teams": list(key.teams)}


def _tell_secret(key: ApiKey, secret: str, *, as_json: bool) -> None:
    if as_json:
        print_json({**_plain(key), "secret": secret})
        return
    # Alone on the standard output, so that it can be put into a variable and is in no progress line.
    errors().print(
        Text(f"{key.name} ({key.key_id}), role {key.role}, sees {_sees(key)}. This is shown once:"),
        soft_wrap=True,
    )
    typer.echo(secret)
