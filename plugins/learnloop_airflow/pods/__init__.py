"""Jobs as pods: what a pod is made of, what its state means, and who judges and removes it."""
