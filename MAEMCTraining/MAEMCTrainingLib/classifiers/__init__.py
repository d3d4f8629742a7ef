"""Classifiers on pre-trained encoders: fine-tuning, fusion, their export."""
