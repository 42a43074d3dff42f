"""The history store: a CRM's history in SQLite or PostgreSQL."""

from crm.store.address import StoreAddress
from crm.store.history_store import Store
from crm.store.reports import Load, LoadReport, RowCounts

__all__ = ["Load", "LoadReport", "RowCounts", "Store", "StoreAddress"]
