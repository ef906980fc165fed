"""Lucas et al. (2021): when the loss falls on the line from first to last parameters."""

READING_ORDER = ("curves", "networks")
