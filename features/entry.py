"""One entry of the catalogue: a feature, or one feature for each group of events, field or window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from crm.schema import DIRECTIONS
from features.moments import Moments
from features.spec import WINDOWS, FeatureSpec, Kind, unique_slugs

Language = Literal["en", "fr"]
#: How a value reads: a count, a duration, money, a share, a plain number, or a level.
Kinds = Literal["count", "days", "money", "ratio", "number", "category"]


class Case(NamedTuple):
    """One feature of an entry: what fills the braces of its name and labels, and the field it shows."""

    slugs: Mapping[str, str] = {}
    en: Mapping[str, str] = {}
    fr: Mapping[str, str] = {}
    field: str = ""


Cases = Callable[[FeatureSpec], Sequence[Case]]


@dataclass(frozen=True)
class Entry:
    """One entry of the catalogue.

    Parameters
    ----------
    name : str
        Name of the feature; braces stand for what an entry of many features varies.
    family : str
    compute : callable
        From :class:`~features.moments.Moments` to an array of shape (n,), or (n, cases).
    cases : callable
        From a spec to the features it has of this entry; none where the history lacks what it needs.
    kind : str
        How a value reads.
    unit : str
    meaning : str
        In one sentence, exactly.
    label_en, label_fr : str
        What a rep reads.
    known_because : str
        Why the value was known at ``as_of``.
    actionable : bool
        Whether a rep can change it by acting.
    dtype : str
    """

    name: str
    family: str
    compute: Callable[[Moments], NDArray[Any]]
    cases: Cases
    kind: Kinds
    unit: str
    meaning: str
    label_en: str
    label_fr: str
    known_because: str
    actionable: bool = False
    dtype: str = field(default="float64", kw_only=True)

    def names(self, spec: FeatureSpec) -> list[str]:
        """Give the names of the features that a spec has of this entry."""
        return [self.name.format(**case.slugs) for case in self.cases(spec)]


def once(*needs: str, entity: str = "") -> Cases:
    """Give one feature where the spec's history has all these columns and is of that entity."""

    def cases(spec: FeatureSpec) -> Sequence[Case]:
        there = all(need in spec.present for need in needs) and entity in ("", spec.entity)
        return (Case(),) if there else ()

    return cases


_GROUPS = {
    "event": ("events", "événements"),
    "activity": ("activities", "activités"),
    "in": ("actions of the prospect", "actions du prospect"),
    "out": ("our actions", "nos actions"),
}
_CHANNELS_FR = {
    "email": "e-mail",
    "call": "appel",
    "meeting": "rendez-vous",
    "web": "site web",
    "form": "formulaire",
    "chat": "messagerie",
    "social": "réseaux sociaux",
}
_STATUSES = {
    "scheduled": ("scheduled", "prévu"),
    "started": ("started", "commencé"),
    "done": ("done", "fait"),
    "cancelled": ("cancelled", "annulé"),
}
_FIELDS = {
    "stage": ("stage", "étape"),
    "amount": ("amount", "montant"),
    "expected_close_at": ("expected close date", "date de clôture prévue"),
    "owner_id": ("owner", "responsable"),
    "account_id": ("account", "compte"),
    "source": ("source", "origine"),
    "currency": ("currency", "devise"),
}
_DEALS = {
    "created": ("deal created", "affaire créée"),
    "won": ("deal won", "affaire gagnée"),
    "lost": ("deal lost", "affaire perdue"),
}


def broad(spec: FeatureSpec) -> list[Case]:
    """Give every event, activities, those of each direction and of each channel, as laid out."""
    slugs = ["event", "activity", *(d for d in spec.directions)]
    cases = [Case({"group": s}, {"group": _GROUPS[s][0]}, {"group": _GROUPS[s][1]}) for s in slugs]
    for name, channel in zip(unique_slugs(spec.channels), spec.channels, strict=True):
        cases.append(
            Case(
                {"group": f"channel_{name}"},
                {"group": f"{channel} activities"},
                {"group": f"activités par {_CHANNELS_FR.get(channel, channel)}"},
            )
        )
    return cases


def broad_trends(spec: FeatureSpec) -> list[Case]:
    """Give the broad groups that have a trend: all but the channels."""
    return broad(spec)[: 2 + len(spec.directions)]


def broad_windows(spec: FeatureSpec) -> list[Case]:
    """Give every broad group for every window, the windows varying slowest."""
    return [
        Case(
            {**case.slugs, "window": str(days)},
            {**case.en, "window": str(days)},
            {**case.fr, "window": str(days)},
        )
        for days in WINDOWS
        for case in broad(spec)
    ]


def kinds(spec: FeatureSpec) -> list[Case]:
    """Give every kind of event."""
    plain = {k.name for k in spec.kinds if k.source == "activity" and k.value != "done"}
    texts = [_kind_slug(kind, kind.name in plain) for kind in spec.kinds]
    return [
        Case({"kind": name}, {"kind": _kind_label(kind, 0, plain)}, {"kind": _kind_label(kind, 1, plain)})
        for name, kind in zip(unique_slugs(texts), spec.kinds, strict=True)
    ]


def _kind_slug(kind: Kind, has_status: bool) -> str:
    if kind.source == "activity":
        return f"{kind.name} {kind.value}" if has_status else kind.name
    if kind.source == "deal":
        return f"deal {kind.name}"
    return f"{kind.name} to {kind.value}" if kind.value else f"{kind.name} change"


def _kind_label(kind: Kind, language: int, has_status: set[str]) -> str:
    if kind.source == "activity":
        status = _STATUSES.get(kind.value, (kind.value, kind.value))[language]
        return f"{kind.name} ({status})" if kind.name in has_status else kind.name
    if kind.source == "deal":
        return _DEALS[kind.name][language]
    name = field_label(kind.name, language)
    if kind.value:
        return f"{name} → {kind.value}"
    return (f"change of {name}", f"changement : {name}")[language]


def field_label(name: str, language: int) -> str:
    """Give a field's name as a person reads it: canonical ones translated, others as in the export."""
    owner, _, column = name.rpartition(".")
    label = _FIELDS[column][language] if column in _FIELDS else column
    if not owner:
        return label
    of = {"account": ("account", "compte"), "lead": ("lead", "prospect"), "deal": ("deal", "affaire")}
    return (f"{of[owner][0]}'s {label}", f"{label} ({of[owner][1]})")[language]


def work(spec: FeatureSpec) -> list[Case]:
    """Give every kind of work that is planned before it is done."""
    return [
        Case({"work": name}, {"work": kind}, {"work": kind})
        for name, kind in zip(unique_slugs(spec.work), spec.work, strict=True)
    ]


def total_work(spec: FeatureSpec) -> list[Case]:
    """Give one feature where any work is planned before it is done."""
    return [Case()] if spec.work else []


#: Fields with a family of their own, so not shown again as attributes.
OWN_FAMILY = ("stage", "amount", "deal.stage", "deal.amount")


def number_fields(spec: FeatureSpec) -> list[str]:
    """Give the attributes that are numbers."""
    return [field for field in spec.numeric if field not in OWN_FAMILY]


def category_fields(spec: FeatureSpec) -> list[str]:
    """Give the attributes with levels."""
    return [levels.field for levels in spec.categorical if levels.field not in OWN_FAMILY]


def numbers(spec: FeatureSpec) -> list[Case]:
    """Give every attribute that is a number."""
    return _fields(number_fields(spec))


def categories(spec: FeatureSpec) -> list[Case]:
    """Give every attribute with levels."""
    return _fields(category_fields(spec))


def _fields(names: list[str]) -> list[Case]:
    return [
        Case({"field": name}, {"field": field_label(f, 0)}, {"field": field_label(f, 1)}, f)
        for name, f in zip(unique_slugs(names), names, strict=True)
    ]


def one_category(field_name: str) -> Cases:
    """Give one feature for a categorical field with a family of its own, where the spec has it."""

    def cases(spec: FeatureSpec) -> Sequence[Case]:
        return (Case(field=field_name),) if spec.levels_of(field_name) else ()

    return cases


def one_number(field_name: str) -> Cases:
    """Give one feature for a number with a family of its own, where the spec has it."""

    def cases(spec: FeatureSpec) -> Sequence[Case]:
        return (Case(field=field_name),) if field_name in spec.numeric else ()

    return cases


def some_directions(*directions: str) -> Cases:
    """Give one feature where the history tells all these directions."""

    def cases(spec: FeatureSpec) -> Sequence[Case]:
        return (Case(),) if set(directions) <= set(spec.directions) & set(DIRECTIONS) else ()

    return cases
