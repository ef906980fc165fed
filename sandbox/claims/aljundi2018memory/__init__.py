"""Aljundi et al. (2018): weights matter as far as the outputs are sensitive to them."""

READING_ORDER = ("sensitivity", "batches", "forgetting")
