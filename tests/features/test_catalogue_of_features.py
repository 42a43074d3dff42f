"""Every feature is described, in both languages, and its values read as a person would write them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import features
from crm.errors import InputError
from crm.history import History
from features import CATALOGUE, FeatureSpec, Kind, Levels, describe, feature, format_value, learn_spec

Make = Callable[[int, int], History]
#: Words that only one of the two languages uses.
ENGLISH = (" the ", "Days ", "Number of", "Planned", " of ")


def test_the_public_names_are_sorted() -> None:
    """What the package offers is listed in order and is all there."""
    assert features.__all__ == sorted(features.__all__)
    assert all(hasattr(features, name) for name in features.__all__)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_every_entry_says_everything(entry: features.catalogue.Entry) -> None:
    """Each entry has a meaning, labels in two languages, and a reason why the value was known."""
    assert entry.meaning.endswith(".") and entry.known_because.endswith(".")
    assert entry.label_en and entry.label_fr
    if "{field}" not in entry.label_en and entry.label_en not in ("Stage", "Amount"):
        assert entry.label_en != entry.label_fr
    assert not any(word in entry.label_fr for word in ENGLISH)
    assert entry.kind != "days" or entry.unit == "days"
    assert entry.dtype == "float64"


def test_names_are_unique() -> None:
    """No two entries share a name."""
    names = [entry.name for entry in CATALOGUE]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entity", ["deal", "lead"])
def test_every_feature_of_a_spec_is_described(random_history: Make, entity: str) -> None:
    """Each learned feature has labels without braces left, and a name that LightGBM takes as it is."""
    spec = learn_spec(random_history(5, 40), entity)
    for name in spec.names:
        for language in ("en", "fr"):
            label = describe(spec, name, language)
            assert label and "{" not in label
        assert name.isascii() and not set(name) & set(' ,:[]{}"')
        assert format_value(spec, name, 0.0) and format_value(spec, name, float("nan"), "fr") == "aucun"
    assert len({describe(spec, name) for name in spec.names}) == len(spec.names)


SPEC = FeatureSpec(
    "deal",
    names=("age_days", "amount", "attribute_source", "rep_win_rate", "count_mail_done"),
    kinds=(Kind("activity", "mail", "done"), Kind("activity", "mail", "scheduled")),
    numeric=("amount",),
    categorical=(Levels("source", ("web", "fair"), ("radio",)),),
    present=("owner_id", "outcomes"),
)


@pytest.mark.parametrize(
    ("name", "value", "english", "french"),
    [
        ("age_days", 12.4, "12 days", "12 jours"),
        ("age_days", 1.0, "1 day", "1 jour"),
        ("age_days", 1.5, "1.5 days", "1,5 jour"),
        ("age_days", 0.0, "0 days", "0 jour"),
        ("age_days", float("nan"), "none", "aucun"),
        ("amount", 12500.0, "12,500", "12\u202f500"),
        ("amount", 99.5, "99.5", "99,5"),
        ("rep_win_rate", 0.254, "25%", "25\u202f%"),
        ("attribute_source", 1.0, "fair", "fair"),
        ("attribute_source", 2.0, "other", "autre"),
        ("count_mail_done", 3.0, "3", "3"),
    ],
)
def test_values_read_as_people_write_them(name: str, value: float, english: str, french: str) -> None:
    """Days, money, shares, levels and counts are written by the habits of each language."""
    assert format_value(SPEC, name, value) == english
    assert format_value(SPEC, name, value, "fr") == french


def test_a_status_shows_only_where_a_kind_has_several() -> None:
    """A kind of activity that is also planned says which of both is counted."""
    assert describe(SPEC, "count_mail_done") == "Number of: mail (done)"
    assert describe(SPEC, "count_mail_done", "fr") == "Nombre : mail (fait)"


def test_an_unknown_feature_is_named() -> None:
    """Asking for a feature that is not there says its name and where the names are."""
    with pytest.raises(InputError, match=r"'shoe_size' is not known for deals.*FeatureSpec\.names"):
        describe(SPEC, "shoe_size")


def test_a_feature_gives_its_entry() -> None:
    """What the catalogue knows about a feature can be read: its family, unit and whether a rep can act."""
    found = feature(SPEC, "age_days")
    assert (found.entry.family, found.entry.unit, found.entry.actionable) == ("age", "days", False)


def test_codes_match_the_matrix(random_history: Make, random_snapshots: Callable[..., pd.DataFrame]) -> None:
    """A category's value in the matrix formats back to the text that the CRM holds."""
    history = random_history(6, 30)
    spec = learn_spec(history, "deal")
    snapshots = random_snapshots(history, "deal", 1, 1).assign(as_of=pd.Timestamp("2024-09-01", tz="UTC"))
    frame = features.build_features(history, snapshots, spec).to_frame()
    texts = [format_value(spec, "attribute_source", value) for value in frame["attribute_source"]]
    source = history.deals.set_index("deal_id")["source"].reindex(snapshots["record_id"])
    assert texts == source.fillna("none").tolist()
    assert np.isfinite(frame["attribute_source"]).any()
