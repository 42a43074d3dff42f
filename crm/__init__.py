"""What the CRM says: canonical tables, the history store, importers, the simulator."""
