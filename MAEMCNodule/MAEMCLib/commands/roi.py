"""``maemc roi``: both stacks of a nodule as NRRD in patient space, and the montages as the model sees them."""

from argparse import Namespace
from pathlib import Path

from ..cases.points import parse_point
from ..files.atomic import make_folder
from ..images.reading_process import ReadingProcess
from ..inputs.nodule import Preprocessing, save_montage, write_stack
from ..inputs.region import PLANES, cut_roi


def roi(arguments: Namespace) -> int:
    """The command."""
    folder = Path(arguments.output)
    make_folder(folder)
    with ReadingProcess() as reader:
        volume = reader.read(arguments.image, arguments.series, arguments.nifti_form)
    region = cut_roi(volume, parse_point(arguments.point, arguments.ras))
    settings = Preprocessing()
    for plane in PLANES:
        stack = getattr(region, plane)
        write_stack(folder / f"{plane}.nrrd", stack, region, plane)
        save_montage(stack, settings, folder / f"montage_{plane}.png")
    if not arguments.quiet:
        print(f"Written to {folder}; {region.padded_fraction:.1%} of the region lies outside the volume.")
    return 0
