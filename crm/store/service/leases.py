"""Leases: work that one process at a time does, handed over when that process dies.

No clock is compared between machines. Who holds a lease counts its beat up; who waits watches the beat, and
takes the lease by compare-and-swap when it has not moved for long enough by the watcher's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from crm.store.service.layout import LEASES


@dataclass(frozen=True)
class Lease:
    """A lease as it was seen.

    Parameters
    ----------
    name : str
    holder : str
        Empty where it was given back.
    token : int
        Counts the holders.
    beat : int
        Counted up by the holder.
    """

    name: str
    holder: str
    token: int
    beat: int


def read_lease(connection: sa.Connection, name: str) -> Lease | None:
    """Give a lease as it is; None where it was never taken."""
    row = connection.execute(sa.select(LEASES).where(LEASES.c.name == name)).first()
    return None if row is None else Lease(row.name, row.holder, row.token, row.beat)


def take_lease(connection: sa.Connection, name: str, holder: str, seen: Lease | None) -> Lease | None:
    """Take a lease that is as it was seen.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        That may write.
    name, holder : str
    seen : Lease or None
        What :func:`read_lease` gave.

    Returns
    -------
    Lease or None
        None where it has moved, or another was faster.
    """
    if seen is None:
        try:
            with connection.begin_nested():
                row = {"name": name, "holder": holder, "token": 1, "beat": 0}
                connection.execute(LEASES.insert().values(row))
        except sa.exc.IntegrityError:
            return None
        return Lease(name, holder, 1, 0)
    mine = Lease(name, holder, seen.token + 1, 0)
    return mine if _swap(connection, seen, mine) else None


def beat_lease(connection: sa.Connection, lease: Lease) -> Lease | None:
    """Show that the holder lives; None where the lease was lost."""
    beaten = replace(lease, beat=lease.beat + 1)
    return beaten if _swap(connection, lease, beaten) else None


def release_lease(connection: sa.Connection, lease: Lease) -> None:
    """Give a lease back, so that another need not wait; nothing where it was lost."""
    _swap(connection, lease, replace(lease, holder="", beat=lease.beat + 1))


def is_held(connection: sa.Connection, lease: Lease) -> bool:
    """Say whether a lease is still the holder's, in the transaction of the work that it allows."""
    query = sa.select(LEASES.c.token).where(LEASES.c.name == lease.name, LEASES.c.holder == lease.holder)
    reads_only = connection.get_execution_options().get("postgresql_readonly", False)
    if connection.dialect.name == "postgresql" and not reads_only:
        # Nobody takes it until the work is committed.
        query = query.with_for_update(read=True)
    return connection.execute(query).scalar() == lease.token


def _swap(connection: sa.Connection, seen: Lease, then: Lease) -> bool:
    as_seen = (
        (LEASES.c.name == seen.name)
        & (LEASES.c.holder == seen.holder)
        & (LEASES.c.token == seen.token)
        & (LEASES.c.beat == seen.beat)
    )
    values = {"holder": then.holder, "token": then.token, "beat": then.beat}
    return connection.execute(LEASES.update().where(as_seen).values(values)).rowcount == 1
