"""Pictures that the worker draws for its owner, which has no matplotlib."""

import base64
import io

from ..figures.local_calibration import local_calibration_figure
from ..files.atomic import home
from ..models.store import find_model, read_card
from ..review.local_calibration import local_calibration
from ..review.reviews import Reviews


def calibration_png(model: str | None) -> str:
    """How readers and a model (id or path) fared at this home, as ``maemc review calibration`` draws it; base64.

    Raises InputError where the audit log cannot be read, ModelError.
    """
    card = read_card(find_model(model))
    found = local_calibration(Reviews(home()).all(), card.sha256)
    stream = io.BytesIO()
    figure = local_calibration_figure(found, f"{card.id} {card.version}\n{card.probability_name}")
    figure.savefig(stream, format="png", dpi=160)
    return base64.b64encode(stream.getvalue()).decode("ascii")
