"""Many cases at once, in one results file that can be continued."""
