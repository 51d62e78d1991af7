"""Merging two versions of a dataset: what each did since the version they both come from.

Files are merged by hash (`trees`), keyed tables by record and field (`records`), ``dataset.yaml`` by setting (`config`).
`contents` puts the three together for versions in the store, `requests` keeps a merge in the database until each of
its conflicts is answered, and then commits it.
"""
