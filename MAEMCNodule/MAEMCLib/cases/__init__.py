"""Who is to be scored or learned from: manifests, points and clinical values."""
