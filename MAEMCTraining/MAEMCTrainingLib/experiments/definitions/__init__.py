"""The experiments: each module of this folder has ``EXPERIMENTS``, by their names, and is found by being here."""
