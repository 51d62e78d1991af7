"""One machine: set-up, and the supervisor that keeps the stack running."""
