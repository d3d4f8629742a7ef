"""The training loop: steps, checkpoints, optimization, processes, random numbers."""
