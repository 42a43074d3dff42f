"""Reading one section of a TOML file strictly: every key known, present where needed and of its type."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from crm.errors import MappingError, shorten


def suggest(word: str, known: Iterable[str]) -> str:
    """Give ``"; did you mean 'x'?"`` for the nearest known word, else an empty text.

    Examples
    --------
    >>> suggest("ammount", ["amount", "stage"])
    "; did you mean 'amount'?"
    >>> suggest("zzz", ["amount"])
    ''
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def same_but_for_case(word: str, known: Iterable[str]) -> str | None:
    """Give the known word that differs only in capitals and spaces, if there is one.

    Examples
    --------
    >>> same_but_for_case("Closed Won", ["closed won", "Lost"])
    'closed won'
    """
    folded = "".join(word.split()).casefold()
    return next((k for k in known if k != word and "".join(k.split()).casefold() == folded), None)


def read_toml(path: Path) -> tuple[dict[str, Any], bytes]:
    """Give a TOML file's content and its bytes; MappingError where it cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MappingError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return tomllib.loads(raw.decode("utf-8-sig").replace("\r\n", "\n")), raw
    except UnicodeDecodeError as error:
        raise MappingError(f"{path}: not UTF-8 at byte {error.start}; save the mapping as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{path}: not valid TOML: {error}") from error


class Section:
    """One table of a TOML file, whose keys are taken one by one.

    Parameters
    ----------
    content : mapping
        Keys and values as tomllib gives them.
    where : str
        The file and section, for messages.
    """

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self._content = content
        self._asked: set[str] = set()
        self.where = where

    def error(self, key: str, message: str) -> MappingError:
        """Make an error that names the section and key."""
        return MappingError(f"{self.where}: {key}: {message}")

    def _take(self, key: str, kind: type | tuple[type, ...], described: str, required: bool) -> Any:
        self._asked.add(key)
        value = self._content.get(key)
        if value is None:
            if required:
                raise self.error(key, f"missing; add {key} = {described}")
            return None
        # bool is an int in Python, but true is no number in TOML
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(
                key, f"{shorten(repr(value))} is not of the right type; write {key} = {described}"
            )
        return value

    def names(self) -> list[str]:
        """Give the keys that stand in the section, in the file's order."""
        return list(self._content)

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        """Give a text."""
        value = self._take(key, str, '"text"', required)
        return default if value is None else str(value)

    def required_text(self, key: str) -> str:
        """Give a text that must be there and not be empty."""
        value = self._take(key, str, '"text"', True)
        if not value:
            raise self.error(key, "is empty; name something")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Give a true or false."""
        value = self._take(key, bool, "true or false", False)
        return default if value is None else bool(value)

    def share(self, key: str, default: float) -> float:
        """Give a number from 0 to 1."""
        value = self._take(key, (int, float), "a number from 0 to 1", False)
        if value is None:
            return default
        if not 0 <= value <= 1:
            raise self.error(key, f"{value} is not between 0 and 1")
        return float(value)

    def texts(self, key: str, default: tuple[str, ...] = (), *, required: bool = False) -> tuple[str, ...]:
        """Give a list of texts."""
        value = self._take(key, list, '["text", …]', required)
        if value is None:
            return default
        for item in value:
            if not isinstance(item, str):
                raise self.error(key, f"{item!r} in the list is not text; write it in quotes")
        return tuple(value)

    def text_or_texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Give a text, or a list of texts, as a tuple."""
        if isinstance(self._content.get(key), list):
            return self.texts(key)
        value = self.text(key)
        return default if value is None else (value,)

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Give one of the choices."""
        value = self._take(key, str, " or ".join(f'"{c}"' for c in choices), default is None)
        if value is None and default is not None:
            return default
        if value not in choices:
            raise self.error(key, f"{value!r} is not one of {', '.join(choices)}{suggest(value, choices)}")
        return str(value)

    def section(self, key: str) -> Section | None:
        """Give a sub-section, or None where there is none."""
        value = self._take(key, dict, "a section of keys", False)
        return None if value is None else Section(value, f"{self.where}.{key}")

    def sections(self, key: str) -> list[Section]:
        """Give the sub-sections written once as ``[key]`` or several times as ``[[key]]``."""
        value = self._content.get(key)
        self._asked.add(key)
        if value is None:
            return []
        if isinstance(value, dict):
            return [Section(value, f"{self.where}.{key}")]
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return [Section(item, f"{self.where}.{key}[{n}]") for n, item in enumerate(value, 1)]
        raise self.error(key, f"write a section [{key}] or several [[{key}]]")

    def pairs(self, key: str) -> dict[str, str]:
        """Give a sub-section of texts."""
        value = self._take(key, dict, '{ name = "text" }', False) or {}
        for name, text in value.items():
            if not isinstance(text, str):
                raise self.error(f"{key}.{name}", f"{shorten(repr(text))} is not text; write it in quotes")
        return dict(value)

    def subsections(self, key: str) -> dict[str, Section]:
        """Give a sub-section whose values are sections."""
        value = self._take(key, dict, "a section of sections", False) or {}
        for name, content in value.items():
            if not isinstance(content, dict):
                raise self.error(f"{key}.{name}", f"{shorten(repr(content))} is not a section of keys")
        return {name: Section(content, f"{self.where}.{key}.{name}") for name, content in value.items()}

    def done(self) -> None:
        """Check that no key is left over."""
        for key in self._content:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise self.error(key, f"no such key{suggest(key, self._asked)} (known here: {known})")
