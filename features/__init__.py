"""What was known at a moment: snapshots, point-in-time features, KPIs."""
