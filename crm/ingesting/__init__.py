"""Rows that a CRM sends one by one: compared with the store in one transaction, each difference a change."""
