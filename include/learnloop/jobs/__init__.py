"""Jobs: what one is, how job code finds its places, and the runner for one machine."""
