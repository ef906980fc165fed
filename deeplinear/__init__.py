"""Exact learning dynamics of deep linear networks under curvature-corrected rules."""
