"""Experiments: tables of trainings that run on any labeled data, each cell an ordinary job that can be continued."""
