"""Ask a bundle about records that are made up, before anybody else does."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

from pydantic_core import to_json

from crm.errors import BundleError
from serving.answering.inline import score_inline
from serving.answering.reading import Entity, read_batch
from serving.answering.schemas import DealAnswer, LeadAnswer
from serving.bundle import ModelBundle
from serving.http.problems import Refusal

#: Probabilities that are the same but for the last digits.
_CLOSE: Final = 1e-6
_ENTITIES: Final[dict[str, tuple[Entity, str, type[LeadAnswer] | type[DealAnswer]]]] = {
    "lead": ("lead", "propensity", LeadAnswer),
    "deal": ("deal", "win_probability", DealAnswer),
}


def probe(bundle: ModelBundle, served: ModelBundle | None = None) -> None:
    """Prove that a bundle answers as the service promises.

    Each model scores two made-up records, one with a past and one without; the answers must be of the
    published form, their probabilities within 0 and 1, and base and effects must sum to them.

    Parameters
    ----------
    bundle : ModelBundle
    served : ModelBundle, optional
        What it is to replace; the new one must score whatever that scores.

    Raises
    ------
    BundleError
        Saying which model fails, and how.
    """
    lost = sorted(set(served.models) - set(bundle.models)) if served is not None else []
    if lost:
        raise BundleError(
            f"bundle {bundle.version}: has no model of {lost[0]}s, and they are being scored; train on a "
            "history that supports one, or start the service anew to serve it all the same"
        )
    for name in bundle.models:
        try:
            _probe(bundle, name)
        except BundleError:
            raise
        except Refusal as refusal:
            raise _unfit(bundle, name, refusal.detail or refusal.kind.title) from refusal
        except Exception as error:
            # Whatever it is, a request would meet it too.
            raise _unfit(bundle, name, repr(error)) from error


def _probe(bundle: ModelBundle, name: str) -> None:
    entity, probability, form = _ENTITIES[name]
    now = bundle.trained_through
    made, acted = (now - timedelta(days=30)).isoformat(), (now - timedelta(days=2)).isoformat()
    acts = [{"kind": "call", "direction": way, "occurred_at": acted} for way in ("in", "out")]
    bare = {f"{entity}_id": "1", "created_at": made}
    lived = bare | {f"{entity}_id": "2", "stage": "new", "activities": acts}
    body = to_json({f"{entity}s": [bare, lived], "as_of": now.isoformat(), "reasons": 10})
    answer = score_inline(bundle, read_batch(body, entity, now))
    form.model_validate_json(to_json(answer))
    if bundle.models[name].too_early:
        return
    if len(answer["scores"]) != 2:
        raise _unfit(bundle, name, f"of 2 made-up records it scored {len(answer['scores'])}")
    for score in answer["scores"]:
        _check(bundle, name, score[probability], score["reasons"])


def _check(bundle: ModelBundle, name: str, probability: float, reasons: dict[str, Any]) -> None:
    if not 0.0 <= probability <= 1.0:
        raise _unfit(bundle, name, f"a made-up record has the probability {probability!r}")
    effects = [one["effect"] for one in (*reasons["raising"], *reasons["lowering"])]
    total = math.fsum([reasons["base_probability"], *effects, reasons["other_effects"]])
    if not abs(total - probability) < _CLOSE:
        raise _unfit(bundle, name, f"base and effects sum to {total!r}, the probability is {probability!r}")


def _unfit(bundle: ModelBundle, name: str, what: str) -> BundleError:
    return BundleError(f"bundle {bundle.version}: its model of {name}s cannot answer ({what}); train again")
