"""Saxe, McClelland & Ganguli (2014): nonlinear dynamics of learning in deep linear networks."""
