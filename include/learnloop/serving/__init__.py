"""The model server: the set of loaded models, its reconciler, its HTTP API, its client."""
