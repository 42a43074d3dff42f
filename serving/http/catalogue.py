"""All endpoints: what stands here is routed, checked, documented, measured and audited; nothing else is."""

from __future__ import annotations

from serving.http.endpoint import Endpoint
from serving.http.resources import (
    accuracy,
    audit,
    call_list,
    dead_letters,
    forecast,
    health,
    ingest,
    kpis,
    lists,
    models,
    record_history,
    scoring,
    subscriptions,
    webhooks_in,
)
from serving.http.resources.docs import with_docs

ENDPOINTS: tuple[Endpoint, ...] = with_docs(
    (
        *health.ENDPOINTS,
        *scoring.ENDPOINTS,
        *models.ENDPOINTS,
        *lists.ENDPOINTS,
        *record_history.ENDPOINTS,
        *call_list.ENDPOINTS,
        *forecast.ENDPOINTS,
        *kpis.ENDPOINTS,
        *accuracy.ENDPOINTS,
        *ingest.ENDPOINTS,
        *webhooks_in.ENDPOINTS,
        *subscriptions.ENDPOINTS,
        *dead_letters.ENDPOINTS,
        *audit.ENDPOINTS,
    )
)
