"""What the platform tells a monitoring system: figures for Prometheus, lines for a log (docs/observability.md)."""
