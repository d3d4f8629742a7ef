"""Checks of a pre-training method's own settings."""

from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import EncoderConfiguration


def check(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raises UsageError, which names the setting, its value and what is wanted, unless the condition holds."""
    if not holds:
        raise UsageError(f"The pre-training setting {name} is {value!r}, but it has to be {wanted}.", "setting")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises UsageError unless the value is one of the choices."""
    check(value in choices, name, value, "one of " + ", ".join(choices))


def own_transformer(encoder: object, method: str) -> None:
    """Raises UsageError unless the encoder is MAEMC's own vision transformer, which computes visible patches alone."""
    if not isinstance(encoder, EncoderConfiguration):
        raise UsageError(
            f"The method {method} hides patches of a vision transformer; it cannot train {encoder.backbone}. Choose "
            "--backbone tiny, vit-base or vit-large, or one of the methods spark, resmae, fcmae for a convolutional "
            "network.",
            "backbone",
        )
