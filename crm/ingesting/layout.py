"""What ingesting keeps beside the history: how recent the fields of each record are."""

from __future__ import annotations

import sqlalchemy as sa

from crm.store.layout import METADATA

#: For a lead, deal or account, the moment of the last state that gave each field; for an activity that was
#: sent again, the row that holds its last state and the moment of that: one JSON object.
STATED = sa.Table(
    "ingest_states",
    METADATA,
    sa.Column("entity", sa.Text, primary_key=True),
    sa.Column("record_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
)
