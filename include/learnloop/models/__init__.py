"""Registered models: the MLflow registry, and the gate in front of an alias."""
