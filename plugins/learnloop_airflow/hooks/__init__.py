"""Connections of tasks to what runs elsewhere."""
