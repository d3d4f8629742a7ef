"""The card of a scored nodule as a secondary capture, for viewers that show no structured report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..images.ct import CTVolume
from .nodule import SOFTWARE, ReportedNodule
from .picture import picture
from .source import SourceSeries

if TYPE_CHECKING:
    from highdicom.sc import SCImage


def capture(source: SourceSeries, nodule: ReportedNodule, volume: CTVolume) -> SCImage:
    """The picture of ``picture`` as a new instance (PS3.3 A.8.1), with the research notice burned in.

    Raises what ``picture`` raises.
    """
    import highdicom as hd

    image = hd.sc.SCImage.from_ref_dataset(
        source.first,
        pixel_array=picture(volume, nodule),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),
        series_instance_uid=nodule.series_in(source.first.SeriesInstanceUID, "capture"),
        series_number=9003,
        sop_instance_uid=hd.UID(),
        instance_number=nodule.number,
        manufacturer="MAEMC",
        manufacturer_model_name="MAEMC Nodule",
        software_versions=SOFTWARE,
        series_description="AI nodule card - research only",
    )
    image.PatientOrientation = None  # three views have none in common; it may be empty, as may the side of the chest
    image.Laterality = None
    image.BurnedInAnnotation = "YES"  # a nodule's name is the reader's free text
    image.ImageType = ["DERIVED", "SECONDARY"]
    return image
