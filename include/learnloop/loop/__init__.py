"""Rounds of the loop: when one starts, what it consumed, how it ended."""
