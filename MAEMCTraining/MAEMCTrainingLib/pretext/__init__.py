"""How well a pre-training does its own task, beside trivial baselines."""
