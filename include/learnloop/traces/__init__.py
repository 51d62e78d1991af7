"""Traces with OpenTelemetry, off unless they are asked for (docs/observability.md). Nothing here imports OpenTelemetry
before it is.
"""
