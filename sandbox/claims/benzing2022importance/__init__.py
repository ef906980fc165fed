"""Benzing (2022): what EWC, SI and MAS have in common, and what SI owes to a bias."""

READING_ORDER = ("moments", "path", "noise", "outputs", "forgetting")
