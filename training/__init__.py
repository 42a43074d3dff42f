"""Learning and proof: labels, models, calibration, the audit, MLflow."""
