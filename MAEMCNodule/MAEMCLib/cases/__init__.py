"""Who is to be scored or learnt from: manifests, points and clinical values."""
