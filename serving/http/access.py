"""Who calls: a key's role and what it may see."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from serving.http.endpoint import Role


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Parameters
    ----------
    key_id : str or None
        None where no key was needed.
    name : str
        Of the key, for people.
    role : {"crm", "rep", "manager", "admin"}
    owner_id : str or None
        The rep whose records a key of a rep sees.
    teams : tuple of str
        The teams whose records a key of a manager sees.
    is_loopback : bool
    """

    key_id: str | None
    name: str
    role: Role
    owner_id: str | None = None
    teams: tuple[str, ...] = ()
    is_loopback: bool = False

    def owners(self, connection: sa.Connection) -> frozenset[str] | None:
        """Give the owners whose records may be seen; None for all.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Of the history store: teams are what its users say now.
        """
        if self.role in ("admin", "crm") or (self.role == "manager" and not self.teams):
            return None
        own = frozenset() if self.owner_id is None else frozenset({self.owner_id})
        if self.role == "rep":
            return own
        users = USERS.c
        found = connection.execute(sa.select(users.user_id).where(users.team.in_(self.teams))).scalars()
        return own | frozenset(found)
