"""What ``sandbox synapse`` does: release on a spike train, its table and its figures."""
