"""Pictures of the training nodules in a bundle, for an owner that shows which are most alike.

An owner sends ``alike`` with the fields model (id or path) and numbers, those of the nodules in a row's ``alike``; the
answer has a PNG for each, in base64, under ``pictures``.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from ..characteristics.alike import TrainingNodules
from ..errors import UsageError
from ..files.strict_json import is_count
from ..models.beside import training_nodules
from ..models.bundle import ModelBundle, read_card
from ..models.store import find_model
from .protocol import require

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..report.nodule_page import NodulePage

MOST_PICTURES = 64


class ShownNodules:
    """The training nodules of the last bundle that was asked for."""

    def __init__(self) -> None:
        self._key: tuple = ()
        self._nodules: TrainingNodules | None = None

    def pictures(self, model: str | None, numbers: object) -> list[str]:
        """A PNG in base64 for each number. Raises UsageError for numbers that are none of the bundle's, ModelError."""
        several = isinstance(numbers, list) and len(numbers) <= MOST_PICTURES and all(map(is_count, numbers))
        require(several, f"'numbers' of a request is a list of at most {MOST_PICTURES} whole numbers.", "numbers")
        nodules, card = self._of(model)
        require(nodules is not None, f"The model {card.id} shows no training nodules.", "no-alike")
        try:
            return [base64.b64encode(nodules.png(number)).decode("ascii") for number in numbers]
        except ValueError as error:
            raise UsageError(f"The model {card.id} cannot show that: {error}.", "numbers") from error

    def with_alike(self, page: NodulePage, model: str | None) -> NodulePage:
        """The page with the training nodules that its row names; as it is where the row is of another model."""
        from ..report.beside import alike_parts

        if not page.result.alike:
            return page
        nodules, card = self._of(model)
        if nodules is None or page.result.model_sha256 != card.sha256:
            return page
        try:
            return replace(page, alike=alike_parts(page.result, nodules, card))
        except ValueError as error:
            raise UsageError(f"A page names nodules that the model has not: {error}.", "report-page") from error

    def _of(self, model: str | None) -> tuple[TrainingNodules | None, ModelCard]:
        path = find_model(model)
        card = read_card(path)
        key = (path, card.sha256)
        if key != self._key:
            self._key, self._nodules = (), None
            self._nodules = training_nodules(ModelBundle.open(path))
            self._key = key
        return self._nodules, card
