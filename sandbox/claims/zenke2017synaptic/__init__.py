"""Zenke, Poole & Ganguli (2017): synapses that know how much they lowered the loss."""

READING_ORDER = ("flow", "bowl", "forgetting")
