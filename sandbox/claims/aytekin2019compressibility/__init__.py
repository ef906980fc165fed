"""Aytekin, Cricri & Aksu (2019): the ratio of the 1-norm to the 2-norm as a loss of weights."""

READING_ORDER = ("critical", "descent", "training")
