"""MAEMC training library: from local CT and a manifest to a verified model bundle.

Imports ``MAEMCLib`` and is never imported by it. The modules follow one journey:
``data`` (manifest, phantom, cache) -> ``pretraining`` -> ``finetuning`` -> ``evaluation`` -> ``export``.
"""
