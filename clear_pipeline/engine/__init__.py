"""Engines decide where shards are computed, nothing else."""
