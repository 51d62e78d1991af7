"""Mounts: where a job's places are made, what they cost, and who made them (docs/mounts.md)."""
