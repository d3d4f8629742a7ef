"""From a 512 x 512 x 300 volume to both montages, against resampling the whole volume."""

import statistics

import numpy as np
import SimpleITK as sitk
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.nodule import Preprocessing, normalize, to_montage
from MAEMCLib.inputs.region import cut_roi
from samples import said, seconds

SPACING = (0.7, 0.7, 1.25)


def rows():
    """Rows of the table."""
    array = np.random.default_rng(0).integers(-1000, 400, (300, 512, 512)).astype(np.int16)
    affine = np.diag([*SPACING, 1.0])
    volume = CTVolume(array, affine)
    point = volume.to_lps([255.3, 250.8, 140.2])
    settings = Preprocessing()

    def montages(source):
        roi = cut_roi(source, point)
        return to_montage(normalize(np.stack([roi.axial, roi.coronal]), settings))

    def whole():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        size = [round(n * s) for n, s in zip(image.GetSize(), SPACING, strict=True)]
        return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, (0, 0, 0), (1, 1, 1))

    region = seconds(lambda: montages(volume), 51, 5)
    wrapped = seconds(lambda: montages(CTVolume(array, affine)), 51, 5)
    resampling = seconds(whole, 7)
    yield "ROI to both montages", said(region, "ms")
    yield "wrapping, ROI and montages", said(wrapped, "ms")
    yield "whole volume to 1 mm", said(resampling, "ms")
    yield "whole volume / region", f"{statistics.median(resampling) / statistics.median(region):.0f} times"
