"""Models in bundles: their card, weights, store and predictor."""
