"""Which of the languages that Vigie speaks a caller prefers."""

from __future__ import annotations

from functools import lru_cache

from serving.http.endpoint import Language


@lru_cache(maxsize=256)
def language_of(accepted: str | None) -> Language:
    """Read ``Accept-Language``.

    Parameters
    ----------
    accepted : str or None
        The header; of no header, and of languages that are not spoken, English is the answer.

    Examples
    --------
    >>> [language_of(one) for one in ("fr-FR,fr;q=0.9,en;q=0.8", "de,en;q=0.5,fr;q=0.4", "de", None)]
    ['fr', 'en', 'en', 'en']
    """
    best: tuple[float, Language] = (0.0, "en")
    for one in (accepted or "")[:1000].split(","):
        name, _, weight = one.partition(";")
        found = name.strip().lower().partition("-")[0]
        language: Language | None = "fr" if found == "fr" else "en" if found == "en" else None
        quality = _quality(weight)
        if language is not None and quality > best[0]:
            best = (quality, language)
    return best[1]


def _quality(weight: str) -> float:
    name, _, value = weight.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
