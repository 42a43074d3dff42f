"""Reasons as they are stored (a feature, its number, its effect) in words of a language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from crm.errors import InputError
from features import FeatureSpec, describe, format_value
from features.entry import Language

#: A feature, its number at the time, and its effect in probability.
StoredReason = tuple[str, float | None, float]


class Wording:
    """Words for the reasons of scores, by the specs of the models that made them.

    Parameters
    ----------
    specs : mapping of (str, str) to FeatureSpec
        By model version and kind of record; a version that is not there has its features' bare names.
    language : {"en", "fr"}
    """

    def __init__(self, specs: Mapping[tuple[str, str], FeatureSpec], language: Language) -> None:
        self._specs, self._language = specs, language

    def read(
        self, version: str, entity: str, reasons: Sequence[StoredReason], top: int | None = None
    ) -> list[dict[str, Any]]:
        """Give reasons in words, the strongest first."""
        ordered = sorted(reasons, key=lambda reason: -abs(reason[2]))
        spec = self._specs.get((version, entity))
        return [self._word(spec, *reason) for reason in ordered[:top]]

    def _word(
        self, spec: FeatureSpec | None, feature: str, number: float | None, effect: float
    ) -> dict[str, Any]:
        value = float("nan") if number is None else number
        label, text = feature, "" if number is None else f"{number:g}"
        if spec is not None:
            try:
                label = describe(spec, feature, self._language)
                text = format_value(spec, feature, value, self._language)
            except InputError:
                # A spec that no longer has the feature: its name still tells more than nothing.
                label = feature
        return {"feature": feature, "label": label, "value": text, "effect": effect}


@lru_cache(maxsize=32)
def spec_of(text: bytes) -> FeatureSpec:
    """Read a spec that was kept as JSON; the same text is read once."""
    return FeatureSpec.from_json_dict(orjson.loads(text))
