"""Simulated chests with nodules whose truth is known."""
