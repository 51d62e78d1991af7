"""Which job may begin now: what there is, what is held of it, and a pure policy that says who is next (docs/capacity.md)."""
