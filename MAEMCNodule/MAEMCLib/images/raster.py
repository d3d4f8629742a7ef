"""PNG and JPEG files, opened by Pillow."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UNREADABLE, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_SIDE = 20_000
"""Pixels; mammograms and radiographs have up to 8,000. A few bytes of a damaged header can state any number."""


@contextlib.contextmanager
def open_raster(path: Path) -> Iterator[Image]:
    """The image in a PNG or JPEG file, to be decoded within the block.

    Raises InputError, whose text does not name the file: no such file, no PNG or JPEG, a damaged one, a size that
    no medical image has.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if max(image.size) > LARGEST_SIDE:
                    raise Image.DecompressionBombError
                yield image
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("the file is not there", "missing-file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError("it states a size that no medical picture has", "unreadable") from error
    except UNREADABLE as error:
        raise InputError("it is no PNG or JPEG, damaged or cut short", "unreadable") from error
