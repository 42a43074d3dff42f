"""What the features of one kind of record are: everything that was learned from data, as plain JSON."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from crm.errors import InputError, shorten

#: Format of the JSON; a reader refuses a newer one.
SPEC_VERSION = 1

#: Length of the windows, in days.
WINDOWS = (7, 30, 90)


class Kind(NamedTuple):
    """One kind of event.

    Parameters
    ----------
    source : {"activity", "change", "deal"}
    name : str
        The activity's kind, the field that changed, or what happened to a lead's deal.
    value : str
        The activity's status, or the field's new value; empty for a change to any value.
    """

    source: str
    name: str
    value: str


class Act(NamedTuple):
    """Something that we do with a record: a kind of activity, and the channel it mostly goes through.

    Parameters
    ----------
    kind, channel : str
        In the CRM's words; the channel may be empty.
    """

    kind: str
    channel: str


class Levels(NamedTuple):
    """The values of one categorical field, by their codes.

    Parameters
    ----------
    field : str
    levels : tuple of str
        Most frequent first; a level's code is its place.
    rare : tuple of str
        Values seen too seldom to have a code of their own; all share the code ``len(levels)``.
    """

    field: str
    levels: tuple[str, ...]
    rare: tuple[str, ...]

    def codes(self) -> dict[str, int]:
        """Give the code of every value that was seen."""
        codes = dict.fromkeys(self.rare, len(self.levels))
        codes.update((level, code) for code, level in enumerate(self.levels))
        return codes


@dataclass(frozen=True)
class FeatureSpec:
    """What the features of one kind of record are.

    Parameters
    ----------
    entity : {"lead", "deal"}
    names : tuple of str
        The features, in the order of the matrix's columns.
    kinds : tuple of Kind
        Kinds of event that are counted, those with most support first.
    channels, directions : tuple of str
        Values of the activities' columns that are counted.
    work : tuple of str
        Kinds of activity that are planned or started before they are done.
    numeric : tuple of str
        Fields that are numbers; a field of the account or lead reads ``account.industry``.
    categorical : tuple of Levels
    valued : tuple of str
        Fields for which each new value is a kind of event of its own.
    stage_order : tuple of str
        Stages, in the order in which records reach them.
    present : tuple of str
        Canonical columns that the history fills; a family whose columns are missing has no feature.
    excluded : tuple of str
        Fields left out on purpose; their changes are no events either.
    outcomes_of : {"lead", "deal"}
        Whose outcomes make a rep's win rate.
    acts : tuple of Act
        What we do with records ourselves, most usual first.
    """

    entity: str
    names: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    channels: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[Levels, ...] = ()
    valued: tuple[str, ...] = ()
    stage_order: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    outcomes_of: str = "deal"
    acts: tuple[Act, ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, one.name) for one in dataclasses.fields(self)))

    def __hash__(self) -> int:
        # Much is kept by spec, and a spec is large.
        return self._hash

    @cached_property
    def _codes(self) -> dict[str, dict[str, int]]:
        return {levels.field: levels.codes() for levels in self.categorical}

    def codes_of(self, field: str) -> dict[str, int]:
        """Give the codes of a categorical field's values; none where it has no levels."""
        return self._codes.get(field, {})

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields whose values are followed over time."""
        return (*self.numeric, *(levels.field for levels in self.categorical))

    def levels_of(self, field: str) -> Levels | None:
        """Give the levels of a categorical field, or None where it has none."""
        return next((levels for levels in self.categorical if levels.field == field), None)

    def keep(self, names: Collection[str]) -> FeatureSpec:
        """Give the same spec with only these features, in the order they have here.

        Raises
        ------
        InputError
            If a name is not one of the spec's features.
        """
        unknown = sorted(set(names) - set(self.names))
        if unknown:
            raise InputError(
                f"feature {shorten(unknown[0])!r} is not in the spec of {self.entity}s; "
                f"it has {len(self.names)} features, see FeatureSpec.names"
            )
        wanted = set(names)
        return dataclasses.replace(self, names=tuple(name for name in self.names if name in wanted))

    def to_json_dict(self) -> dict[str, Any]:
        """Give the spec as JSON values; :meth:`from_json_dict` gives it back."""
        return {"version": SPEC_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """Read a spec back.

        Raises
        ------
        InputError
            If it was written by a newer version, or is not a spec.
        """
        version = data.get("version")
        if not isinstance(version, int) or version > SPEC_VERSION:
            raise InputError(
                f"feature spec: version = {version!r}: this version reads up to {SPEC_VERSION}; "
                "upgrade Vigie or train again"
            )
        known = {f.name for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, (list, tuple)) else value
            for key, value in data.items()
            if key in known
        }
        try:
            values["kinds"] = tuple(Kind(*kind) for kind in values.get("kinds", ()))
            values["acts"] = tuple(Act(*act) for act in values.get("acts", ()))
            values["categorical"] = tuple(
                Levels(field, tuple(levels), tuple(rare))
                for field, levels, rare in (_plain(one) for one in values.get("categorical", ()))
            )
            return cls(**values)
        except TypeError as error:
            raise InputError(f"feature spec: not readable ({error}); train again") from error


def _plain(one: Any) -> Iterable[Any]:
    """Give a level set's three parts, from the tuple or the list that JSON makes of it."""
    return (one["field"], one["levels"], one["rare"]) if isinstance(one, Mapping) else one


def slug(text: str) -> str:
    """Give a text as a part of a feature's name: ASCII letters, digits and underscores.

    LightGBM refuses names with JSON's punctuation and rewrites blanks, so neither may occur.

    Examples
    --------
    >>> slug("Activité: e-mail")
    'activite_e_mail'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9a-z]+", "_", plain.lower()).strip("_") or "x"


def unique_slugs(texts: Iterable[str]) -> list[str]:
    """Give each text's slug, with a number where an earlier text has the same.

    Examples
    --------
    >>> unique_slugs(["a b", "a-b", "c"])
    ['a_b', 'a_b_2', 'c']
    """
    taken: dict[str, int] = {}
    slugs: list[str] = []
    for text in texts:
        base = slug(text)
        taken[base] = taken.get(base, 0) + 1
        slugs.append(base if taken[base] == 1 else f"{base}_{taken[base]}")
    return slugs
