"""Training: data, networks, one loop, streams of tasks, checkpoints, ensembles."""
