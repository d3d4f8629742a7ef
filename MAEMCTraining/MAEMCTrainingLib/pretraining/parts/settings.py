"""A pre-training method's own settings, and their checks."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

from MAEMCLib.errors import UsageError


def check(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raises UsageError, which names the setting, its value and what is wanted, unless the condition holds."""
    if not holds:
        raise UsageError(f"The pre-training setting {name} is {value!r}, but it has to be {wanted}.", "setting")


@dataclass(frozen=True)
class MethodSettings:
    """What every method's settings are. Raises UsageError for a value that its field does not allow.

    A method that learns from columns of the manifest has the fields ``columns``, their names, and ``classes``, the
    values found in them, which the run fills in. One that learns one class a case has ``class_counts`` besides, the
    number of cases of each.
    """

    columns = ()  # without a type, so that they are no fields here
    class_counts = None

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            if typing.get_origin(kind) is Literal:
                choices = typing.get_args(kind)
                check(getattr(self, name) in choices, name, getattr(self, name), "one of " + ", ".join(choices))

    def check_above_0(self, *names: str) -> None:
        """Raises UsageError unless these settings are above 0."""
        for name in names:
            check(getattr(self, name) > 0, name, getattr(self, name), "above 0")

    def check_at_least(self, lowest: int, *names: str) -> None:
        """Raises UsageError unless none of these settings is lower."""
        for name in names:
            check(getattr(self, name) >= lowest, name, getattr(self, name), f"at least {lowest}")

    def check_momentum(self) -> None:
        """Raises UsageError unless a momentum copy keeps a share of its values."""
        check(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")

    def check_mask_ratio(self) -> None:
        """Raises UsageError unless something is masked and something visible."""
        check(0 < self.mask_ratio < 1, "mask_ratio", self.mask_ratio, "between 0 and 1")
