"""Backups: databases and store, consistent with each other, at a second place; and what they were restored from.

A backup is complete when its head is there, which is written last (`place`). What it holds are pieces named by what is in
them, so that the next one copies only what is new (`pieces`, `sealing`). docs/backup.md says how to use it.
"""
