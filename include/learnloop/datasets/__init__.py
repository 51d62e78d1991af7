"""The data layer: an object store in DVC's format, dataset versions, batches, locks.

Bytes go one way: objects before the tree, the tree before the database row, so that a reader never sees
half a version. Rows go one way: a commit is one transaction that checks the fencing token, compares the head
and appends.
"""
