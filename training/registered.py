"""The registered model as MLflow loads it: one row a record, scored as the service scores it.

MLflow stores the bundle's own directory and the name of this module, and nothing pickled.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from serving.answering.inline import score_inline
from serving.answering.reading import Entity, read_batch
from serving.bundle import ModelBundle
from serving.http.problems import Refusal

#: Where each kind of record has its probability in an answer.
_PROBABILITY: dict[Entity, str] = {"lead": "propensity", "deal": "win_probability"}
_KINDS: dict[str, Entity] = {"lead": "lead", "deal": "deal"}


class RegisteredBundle:
    """A bundle behind MLflow's interface.

    Parameters
    ----------
    bundle : ModelBundle
    """

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score records.

        Parameters
        ----------
        model_input : DataFrame
            ``entity`` ("lead" or "deal"); ``record``, the JSON of one record as the HTTP service takes it;
            ``as_of``, ISO 8601 with a time zone.
        params : dict, optional
            Not used; part of MLflow's interface.

        Returns
        -------
        DataFrame
            One row each, in the same order: ``probability`` (NaN without a score), ``answer`` (the JSON of
            the score with its reasons, or empty), ``reason_missing`` (empty with a score) and
            ``model_version``.
        """
        rows = [
            self._score(str(entity), str(record), str(as_of))
            for entity, record, as_of in zip(
                model_input["entity"], model_input["record"], model_input["as_of"], strict=True
            )
        ]
        frame = pd.DataFrame(
            rows, columns=["probability", "answer", "reason_missing"], index=model_input.index
        )
        return frame.astype({"probability": "float64"}).assign(model_version=self.bundle.version)

    def _score(self, entity: str, record: str, as_of: str) -> tuple[float, str, str]:
        kind = _KINDS.get(entity)
        if kind is None:
            return float("nan"), "", f"entity = {entity!r}: must be lead or deal"
        try:
            moment = datetime.fromisoformat(as_of)
            body = json.dumps({"as_of": as_of, f"{entity}s": [json.loads(record)]}).encode()
            if moment.tzinfo is None:
                return float("nan"), "", f"as_of = {as_of!r}: names no time zone; write for example +00:00"
            answer = score_inline(self.bundle, read_batch(body, kind, moment))
        except ValueError as error:
            return float("nan"), "", f"cannot be read: {error}"
        except Refusal as refusal:
            return float("nan"), "", _words(refusal)
        if answer["errors"]:
            faults = answer["errors"][0]["faults"]
            return float("nan"), "", "; ".join(f"{fault['field']}: {fault['remedy']}" for fault in faults)
        score = answer["scores"][0]
        return score[_PROBABILITY[kind]], json.dumps(score, default=_text, ensure_ascii=False), ""


def _words(refusal: Refusal) -> str:
    faults = [f"{fault.field}: {fault.remedy}" for fault in refusal.faults]
    return "; ".join([refusal.detail or refusal.kind.title, *faults])


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _load_pyfunc(data_path: str) -> RegisteredBundle:
    """Load the bundle; MLflow calls this by its name."""
    return RegisteredBundle(ModelBundle.load(Path(data_path)))
