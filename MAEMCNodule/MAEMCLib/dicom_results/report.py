"""A nodule's result and measures as a DICOM structured report (Comprehensive 3D SR, TID 1500)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..measures.measures import Measures
from ..models.card import ModelCard
from ..results import DISCLAIMER, NoduleResult
from . import codes
from .nodule import SOFTWARE, ReportedNodule, derived_uid, plain
from .source import SourceSeries

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from highdicom.sr import AlgorithmIdentification, Comprehensive3DSR, Measurement


def report(source: SourceSeries, nodule: ReportedNodule, segments: Segmentation | None) -> Comprehensive3DSR:
    """The report of a scored nodule, complete and unverified, as a new instance (PS3.3 A.35.13).

    A group about the reader's point (TID 1410, SCOORD3D in the CT's frame of reference) and, where there is a
    segmentation of the nodule, one about that (TID 1411), with the measures; the model's number in both.
    """
    import highdicom as hd

    groups = [_point_group(source, nodule)]
    if segments is not None:
        groups.append(_segment_group(source, nodule, segments))
    document = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=_device(nodule.card)),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(codes.LANGUAGE),
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[*source.images, *([] if segments is None else [segments])],
        content=document,
        series_instance_uid=nodule.series_in(source.first.SeriesInstanceUID, "report"),
        series_number=9002,
        sop_instance_uid=hd.UID(),
        instance_number=nodule.number,
        manufacturer="MAEMC",
        manufacturer_model_name="MAEMC Nodule",
        software_versions=SOFTWARE,
        is_complete=True,
        series_description="AI nodule report - research only",
    )


def _point_group(source: SourceSeries, nodule: ReportedNodule):
    import highdicom as hd

    region = hd.sr.ImageRegion3D(
        graphic_type=hd.sr.GraphicTypeValues3D.POINT,
        graphic_data=np.array([nodule.result.point_lps], float),
        frame_of_reference_uid=source.first.FrameOfReferenceUID,
    )
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=region, measurements=[_result(nodule)], **_finding(source, nodule)
    )


def _segment_group(source: SourceSeries, nodule: ReportedNodule, segments: Segmentation):
    import highdicom as hd

    outline = nodule.outline
    made = hd.sr.AlgorithmIdentification(
        name=outline.algorithm,
        version=outline.version,
        family=codes.NETWORK if outline.network else codes.CONNECTED_PARTS,
        parameters=[*outline.parameters, f"mask: {outline.measures.status}"],
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_reference(segments),
        algorithm_id=made,
        measurements=[_result(nodule), *_measurements(outline.measures)],
        **_finding(source, nodule),
    )


def _reference(segments: Segmentation):
    """The segment and the slices that it lies on. highdicom 0.28.2 makes one of a segmentation itself
    (``ReferencedSegment.from_segmentation``), and fails where the frames share their segment's number, as one segment's
    frames do."""
    import highdicom as hd

    frames: dict[tuple[str, str], list[int]] = {}
    for frame in segments.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        numbers = frames.setdefault((image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID), [])
        if "ReferencedFrameNumber" in image:
            numbers.append(int(image.ReferencedFrameNumber))
    images = [hd.sr.SourceImageForSegmentation(*names, numbers or None) for names, numbers in frames.items()]
    return hd.sr.ReferencedSegment(segments.SOPClassUID, segments.SOPInstanceUID, 1, source_images=images)


def _finding(source: SourceSeries, nodule: ReportedNodule) -> dict:
    """What both groups say of the nodule: its tracking identifiers, and that it is a nodule of the lung."""
    import highdicom as hd

    uid, name = nodule.tracked_in(source.first.StudyInstanceUID), plain(nodule.result.nodule_id)
    return {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid, name),
        "finding_type": codes.LUNG_NODULE,
        "finding_sites": [hd.sr.FindingSite(codes.LUNG)],
    }


def _result(nodule: ReportedNodule) -> Measurement:
    """The model's number in percent, with everything that it rests on."""
    import highdicom as hd

    return hd.sr.Measurement(
        name=codes.RESULTS[nodule.card.label_type],
        value=round(100.0 * nodule.result.probability, 4),
        unit=codes.PERCENT,
        algorithm_id=_model(nodule.card, nodule.result),
    )


def _measurements(measures: Measures) -> list[Measurement]:
    import highdicom as hd

    def measured(name, value: float, unit, **more) -> Measurement:
        return hd.sr.Measurement(name=name, value=round(float(value), 4), unit=unit, **more)

    return [
        measured(codes.LONG_AXIS, measures.axes.long_mm, codes.MILLIMETER),
        measured(codes.SHORT_AXIS, measures.axes.short_mm, codes.MILLIMETER),
        measured(codes.DIAMETER, measures.mean_diameter_mm, codes.MILLIMETER, derivation=codes.MEAN),
        measured(codes.VOLUME, measures.volume_mm3, codes.CUBIC_MILLIMETER, method=codes.VOXELS_SUMMED),
        measured(codes.ATTENUATION, measures.mean_hu, codes.HOUNSFIELD),
    ]


def _model(card: ModelCard, result: NoduleResult) -> AlgorithmIdentification:
    """TID 4019 of the model that scored the nodule."""
    import highdicom as hd

    return hd.sr.AlgorithmIdentification(
        name=card.id, version=card.version, family=codes.NETWORK, parameters=model_parameters(card, result)
    )


def model_parameters(card: ModelCard, result: NoduleResult) -> list[str]:
    """``name: value`` for all that decides what a number means; what is not known is left out."""
    training = card.values.get("training", {})
    weights = {f"weights SHA-256, {name}": card.files[name]["sha256"] for name in card.members("classifier")}
    reasons = ", ".join(result.gate_reasons)
    stated = {
        "use": DISCLAIMER,
        "software": result.software,
        "model": card.title,
        "model SHA-256": card.sha256,
        **weights,
        "input SHA-256": result.input_sha256,
        "number": card.probability_name,
        "labels": card.label_type,
        "threshold": _number(result.threshold),
        "class": result.class_name,
        "training prevalence": _number(training.get("prevalence")),
        "prior in probability": _number(training.get("prior_in_probability")),
        "calibrated": "yes" if card.calibration.calibrated else "no",
        "spread": result.spread_text,
        "percentile of distance to training": _number(result.ood_percentile),
        "gate": f"{result.gate} ({reasons})" if reasons else result.gate,
    }
    return [f"{name}: {value}" for name, value in stated.items() if value]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _device(card: ModelCard):
    import highdicom as hd

    identified = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", card.sha256, SOFTWARE),
        name="MAEMC Nodule",
        manufacturer_name="MAEMC",
        model_name=f"{card.id} {card.version}",
    )
    return hd.sr.ObserverContext(codes.DEVICE, identified)
