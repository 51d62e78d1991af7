"""Which samples people are asked about, who is asked, and what becomes of their answers."""
