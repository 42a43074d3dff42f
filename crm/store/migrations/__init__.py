"""The store's schema, one Alembic revision a change; :mod:`crm.store.versions` runs them."""
