"""Which job may begin now: what there is, what is held of it, and one pure policy that says who is next (docs/capacity.md)."""
