"""Answering: the model bundle, scores, reasons and the service."""
