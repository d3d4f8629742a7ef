"""Checks of a pre-training method's own settings."""

from MAEMCLib.errors import UsageError


def check(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raises UsageError, which names the setting, its value and what is wanted, unless the condition holds."""
    if not holds:
        raise UsageError(f"The pre-training setting {name} is {value!r}, but it has to be {wanted}.", "setting")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises UsageError unless the value is one of the choices."""
    check(value in choices, name, value, "one of " + ", ".join(choices))
