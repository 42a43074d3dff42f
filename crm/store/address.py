"""Where a history store is: its URL, without ever showing its password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from crm.errors import StoreError

_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True)
class StoreAddress:
    """The address of a history store.

    ``str()`` and ``repr()`` give it without passwords, fit for messages and logs.

    Parameters
    ----------
    url : sqlalchemy.URL
        As parsed by :meth:`parse`.
    """

    url: sa.URL

    @classmethod
    def parse(cls, text: str) -> StoreAddress:
        """Read ``sqlite:///file``, ``postgresql://…`` or the plain path of a SQLite file.

        Raises
        ------
        StoreError
            Where it is none of these.

        Examples
        --------
        >>> str(StoreAddress.parse("history.db"))
        'sqlite:///history.db'
        >>> str(StoreAddress.parse("postgresql://ann:secret@db.example/crm"))
        'postgresql://ann:***@db.example/crm'
        """
        if "://" not in text:
            url = sa.URL.create("sqlite", database=text)
        else:
            try:
                url = sa.make_url(text)
            except (sa.exc.ArgumentError, ValueError):
                raise StoreError(
                    "the URL of the history store cannot be read; write sqlite:///history.db or "
                    "postgresql://user:password@host/database, with special characters percent-encoded"
                ) from None
        kind = url.drivername.split("+")[0]
        if kind not in ("sqlite", "postgresql", "postgres"):
            raise StoreError(f"a history store is a SQLite file or a PostgreSQL database, not {kind}")
        if kind == "sqlite" and url.database in (None, "", ":memory:"):
            raise StoreError("a history store is a file; name one, for example sqlite:///history.db")
        return cls(url.set(drivername="sqlite" if kind == "sqlite" else "postgresql"))

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """The kind of database."""
        return "sqlite" if self.url.drivername == "sqlite" else "postgresql"

    @property
    def path(self) -> Path | None:
        """The file of a SQLite store; None for PostgreSQL."""
        return Path(str(self.url.database)) if self.kind == "sqlite" else None

    @property
    def for_sqlalchemy(self) -> sa.URL:
        """The URL with its driver named; holds the password."""
        return self.url if self.kind == "sqlite" else self.url.set(drivername="postgresql+psycopg")

    @property
    def for_adbc(self) -> str:
        """What ADBC's driver opens; holds the password."""
        if self.path is not None:
            return str(self.path.absolute())
        named = {
            "host": self.url.host,
            "port": self.url.port,
            "user": self.url.username,
            "password": self.url.password,
            "dbname": self.url.database,
        } | dict(self.url.query)
        # Pairs rather than a URL: libpq repeats a URL that it cannot read, with its password.
        pairs = {name: value if isinstance(value, tuple) else (value,) for name, value in named.items()}
        return " ".join(
            f"{name}={_quote_pair(','.join(map(str, values)))}"
            for name, values in pairs.items()
            if values != (None,)
        )

    def redact(self, text: str) -> str:
        """Give the text without this address's passwords, however they are written in it."""
        for secret in self._secrets():
            for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(form, "***")
        return text

    def _secrets(self) -> list[str]:
        named = [self.url.query[name] for name in _SECRETS if name in self.url.query]
        values = [self.url.password, *named]
        flat = [v for value in values if value for v in ([value] if isinstance(value, str) else value)]
        return sorted(flat, key=len, reverse=True)

    def __str__(self) -> str:
        hidden = {name: "***" for name in _SECRETS if name in self.url.query}
        shown = self.url.update_query_dict(hidden).render_as_string(hide_password=True)
        return shown.replace("%2A%2A%2A", "***")

    def __repr__(self) -> str:
        return f"StoreAddress({str(self)!r})"


def _quote_pair(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
