"""Kirkpatrick et al. (2017): elastic weight consolidation, and what programs make of it."""

READING_ORDER = ("estimators", "penalties", "forgetting")
