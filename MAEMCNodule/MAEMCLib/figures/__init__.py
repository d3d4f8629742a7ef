"""What results, explanations and inputs look like: matplotlib figures."""
