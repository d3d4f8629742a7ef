"""What the settings of every pre-training method are."""

from dataclasses import dataclass
from typing import Annotated

from ...engine.configuration import Bound, CheckedSettings

MaskRatio = Annotated[float, Bound("between 0 and 1", lambda value: 0 < value < 1)]
"""A share of an image that is masked: something is masked and something visible."""


@dataclass(frozen=True)
class MethodSettings(CheckedSettings):
    """A method's own settings.

    A method that learns from columns of the manifest has the fields ``columns``, their names, and ``classes``, the
    values found in them, which the run fills in. One that learns one class a case has ``class_counts`` besides, the
    number of cases of each.
    """

    columns = ()  # without a type, so that they are no fields here
    class_counts = None
