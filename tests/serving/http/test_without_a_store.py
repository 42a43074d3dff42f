"""What the service answers with a model and no store: scores, its own health, documents, models."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.bundle import ModelBundle

LEAD: dict[str, Any] = {
    "lead_id": "L-1",
    "created_at": "2024-06-01T00:00:00Z",
    "source": "web",
    "stage": "talk",
    "attributes": {"employees": 120, "industry": "steel"},
    "activities": [{"kind": "email", "direction": "in", "occurred_at": "2024-07-01T09:00:00Z"}],
}


def codes(answer: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Give place, code and first field of each error."""
    return [(one["index"], one["code"], one["faults"][0]["field"]) for one in answer["errors"]]


def test_it_scores_what_it_is_sent(client: Any, bundle: ModelBundle) -> None:
    """As of now, where nothing is said, by the version that is served."""
    answer = client.post("/v1/leads/score", {"leads": [LEAD]}).json()
    assert answer["model"]["version"] == bundle.version
    assert answer["as_of"] == "2024-09-02T09:00:00Z"
    assert 0 < answer["scores"][0]["propensity"] < 1


def test_it_says_that_it_has_no_store(client: Any) -> None:
    """What needs one is 404 with the remedy; a record by id is an error of that record."""
    for path in ("/v1/leads", "/v1/deals/D-1", "/v1/forecast", "/v1/audit", "/v1/call-list"):
        response = client.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "no_store")
    answer = client.post("/v1/leads/score", {"leads": [{"lead_id": "L-1"}, LEAD | {"lead_id": "L-2"}]}).json()
    assert codes(answer) == [(0, "invalid_record", "created_at")]
    assert [one["lead_id"] for one in answer["scores"]] == ["L-2"]


@pytest.mark.parametrize(
    ("fault", "code", "field"),
    [
        ({"colour": "red"}, "invalid_record", "colour"),
        ({"stage": 5}, "invalid_record", "stage"),
        ({"created_at": "yesterday"}, "invalid_record", "created_at"),
        ({"created_at": "2024-06-01T00:00:00"}, "invalid_record", "created_at"),
        ({"attributes": {"note": "x" * 2001}}, "invalid_record", "attributes/note"),
        ({"attributes": {"a": [[[[]]]]}}, "invalid_record", "attributes/a"),
        ({"attributes": {"a": True}}, "invalid_record", "attributes/a"),
        ({"attributes": {"stage": "talk"}}, "invalid_record", "attributes/stage"),
        ({"lead_id": ""}, "invalid_record", "lead_id"),
        ({"lead_id": "x" * 201}, "invalid_record", "lead_id"),
        ({"lead_id": "L-good"}, "duplicate_id", "lead_id"),
        ({"outcome": "won", "closed_at": "2024-07-01T00:00:00Z"}, "closed", ""),
        ({"created_at": "2024-09-02T09:00:01Z"}, "not_known_yet", ""),
        ({"activities": [{"kind": "email", "occurred_at": "2300-01-01T00:00:00Z"}]}, "invalid_record", None),
        ({"activities": [{"kind": "email"}] * 5001}, "invalid_record", "activities"),
    ],
)
def test_one_bad_record_is_named_and_the_other_scored(
    client: Any, fault: dict[str, Any], code: str, field: str | None
) -> None:
    """One clear error with the field and a remedy; the good record is answered as if it were alone."""
    good = LEAD | {"lead_id": "L-good"}
    response = client.post("/v1/leads/score", {"leads": [good, LEAD | fault]})
    assert response.status_code == 200
    answer = response.json()
    ((index, told, where),) = codes(answer)
    assert (index, told) == (1, code)
    assert field is None or where == field
    assert answer["errors"][0]["faults"][0]["remedy"]
    alone = client.post("/v1/leads/score", {"leads": [good]}).json()
    assert answer["scores"] == alone["scores"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_an_error_of_its_record(client: Any, number: str) -> None:
    """JSON that some libraries write for what is no number; it never comes back as one."""
    bad = json.dumps(LEAD | {"attributes": {"employees": "HERE"}}).replace('"HERE"', number)
    response = client.post("/v1/leads/score", f'{{"leads": [{bad}]}}'.encode())
    assert response.status_code == 200
    assert codes(response.json()) == [(0, "invalid_record", "attributes/employees")]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"leads": "\xff\xfe"}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"leads": ' + b'[{"a":' * 5000 + b"1" + b"}]" * 5000 + b"}", 400, "malformed_json"),
        (b"[]", 422, "invalid_request"),
        (b'"leads"', 422, "invalid_request"),
        (b'{"leads": []}', 422, "invalid_request"),
        (b'{"leads": {}}', 422, "invalid_request"),
        (b'{"deals": [{"deal_id": "D"}]}', 422, "invalid_request"),
        (b'{"leads": [{"lead_id": "L"}], "colour": 1}', 422, "invalid_request"),
        (b'{"leads": [{"lead_id": "L"}], "reasons": 11}', 422, "invalid_request"),
        (b'{"leads": [{"lead_id": "L"}], "as_of": "2024-09-02T10:00:00Z"}', 422, "invalid_request"),
        (b'{"leads": [{"lead_id": "L"}], "as_of": "2024-09-02"}', 422, "invalid_request"),
        (b'{"leads": [{"lead_id": "L"}], "use_store": true}', 422, "invalid_request"),
        (b'{"leads": [' + b'{"lead_id": "L"},' * 100_000 + b'{"lead_id": "L"}]}', 422, "invalid_request"),
        (b'{"leads": "' + b"x" * 10_000_000 + b'"}', 422, "invalid_request"),
        (b'{"leads": [{"lead_id": "' + b"x" * 10_000_000 + b'"}]}', 200, ""),
        (b" " * (16 * 1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
def test_a_bad_batch_is_a_problem(client: Any, body: bytes, status: int, code: str) -> None:
    """The whole is refused with a code; a record that is too long is an error of that record."""
    response = client.post("/v1/leads/score", body)
    assert response.status_code == status, response.text[:300]
    if code:
        assert response.json()["code"] == code
        assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) < 3000


def test_another_content_type_is_refused(client: Any) -> None:
    """Only JSON."""
    response = client.post("/v1/leads/score", b"<x/>", headers={"Content-Type": "application/xml"})
    assert response.status_code == 415


@pytest.mark.parametrize("query", ["colour=red", "as_of=2024-01-01", "x=1&x=2"])
def test_scoring_has_no_query(client: Any, query: str) -> None:
    """Unknown and repeated keys are refused there too."""
    response = client.post(f"/v1/leads/score?{query}", {"leads": [LEAD]})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_what_is_not_known_yet_is_left_out(client: Any) -> None:
    """An activity after as_of changes nothing and is counted."""
    late = {"kind": "email", "direction": "in", "occurred_at": "2024-09-02T08:00:00Z"}
    asked = {"as_of": "2024-08-01T00:00:00Z"}
    with_late = asked | {"leads": [LEAD | {"activities": [*LEAD["activities"], late]}]}
    (one,) = client.post("/v1/leads/score", with_late).json()["scores"]
    (without,) = client.post("/v1/leads/score", asked | {"leads": [LEAD]}).json()["scores"]
    assert one["rows_not_known_yet"] == 1
    assert one["propensity"] == without["propensity"]


def test_what_training_never_saw_counts_as_missing(client: Any) -> None:
    """A renamed stage and a new category are warned of, and scored as if they were not given."""
    odd = LEAD | {"stage": "renamed", "attributes": {"employees": 120, "industry": "space"}}
    bare = {key: value for key, value in LEAD.items() if key != "stage"}
    bare["attributes"] = {"employees": 120}
    (one,) = client.post("/v1/leads/score", {"leads": [odd]}).json()["scores"]
    (other,) = client.post("/v1/leads/score", {"leads": [bare]}).json()["scores"]
    assert {warning["value"] for warning in one["warnings"]} == {"renamed", "space"}
    assert one["propensity"] == other["propensity"]


def test_it_is_ready_once_a_model_is_loaded(state_of: Any, client_of: Any, bundle: ModelBundle) -> None:
    """Alive before, ready after, and not ready while it is being stopped."""
    with client_of(state_of(None)) as early:
        assert early.get("/livez").json() == {"alive": True}
        for response in (early.get("/readyz"), early.get("/v1/models")):
            assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        early.state.served.bundle = bundle
        assert early.get("/readyz").json() == {"ready": True, "version": bundle.version, "has_store": False}
        early.state.is_closing = True
        assert early.get("/readyz").status_code == 503
        assert early.get("/livez").status_code == 200


def test_it_is_not_ready_while_the_store_is_not_open(
    state_of: Any, client_of: Any, bundle: ModelBundle
) -> None:
    """Nobody can be told from anybody until then, so nothing but health is answered."""
    with client_of(state_of(bundle, wants_store=True)) as early:
        for response in (
            early.get("/readyz"),
            early.get("/v1/models"),
            early.post("/v1/leads/score", {"leads": [LEAD]}),
        ):
            assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
            assert response.headers["retry-after"]


def test_the_card_of_the_model(client: Any, bundle: ModelBundle) -> None:
    """What it was trained on, how it is calibrated, what was left out."""
    answer = client.get("/v1/models").json()
    (card,) = answer["models"]
    assert (card["version"], card["audit"]) == (bundle.version, {"excluded": ["Tags"]})
    assert {one["entity"]: one["horizon_days"] for one in card["entities"]} == {"lead": 90.0, "deal": None}
    assert answer["known"] == [] and answer["failures"] == []


def test_documents_are_served(client: Any) -> None:
    """Both versions, to anybody."""
    assert client.get("/docs.json").json()["openapi"] == "3.1.0"
    assert client.get("/openapi-3.0.json").json()["openapi"] == "3.0.3"


def measures(client: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read the metrics as Prometheus does."""
    response = client.get("/metrics")
    assert response.status_code == 200
    families = text_string_to_metric_families(response.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_what_was_answered(client: Any, bundle: ModelBundle) -> None:
    """Requests by operation and status, batch sizes, scores by band, the version that answers."""
    leads = [LEAD | {"lead_id": str(place)} for place in range(3)]
    answer = client.post("/v1/leads/score", {"leads": leads}).json()
    client.get("/v1/leads/Jane")
    client.get("/Jane")
    found = measures(client)
    scored = (("operation", "score_leads"),)
    assert found["vigie_requests_total", (*scored, ("status", "200"))] == 1
    assert found["vigie_requests_total", (("operation", "get_lead"), ("status", "404"))] == 1
    assert found["vigie_requests_total", (("operation", "other"), ("status", "404"))] == 1
    assert found["vigie_request_seconds_count", scored] == 1
    assert found["vigie_batch_records_sum", scored] == 3
    band = math.floor(answer["scores"][0]["propensity"] * 10) / 10
    assert found["vigie_scores_total", (("band", f"{band:.1f}"), ("entity", "lead"))] == 3
    assert found["vigie_model_info", (("version", bundle.version),)] == 1
    # The request that reads them is one.
    assert found["vigie_requests_in_progress", ()] == 1
    assert not [labels for _, labels in found if "Jane" in str(labels)]
