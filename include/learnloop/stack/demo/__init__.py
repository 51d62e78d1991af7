"""`make demo`: the whole incremental-learning loop on real data in the running stack."""
