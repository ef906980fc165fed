"""Yang et al. (2021): local and global structure of loss landscapes, in one dimension."""

READING_ORDER = ("descent", "equilibrium", "diffusion", "wells", "load")
