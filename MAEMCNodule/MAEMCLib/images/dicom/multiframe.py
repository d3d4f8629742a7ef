"""The frames of an enhanced multi-frame CT, each as if it were a file of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .header import Header, take
from .image import refused

_MACROS = {
    "PlanePositionSequence": ((), ("ImagePositionPatient",)),
    "PlaneOrientationSequence": ((), ("ImageOrientationPatient",)),
    "PixelMeasuresSequence": ((), ("PixelSpacing", "SliceThickness")),
    "PixelValueTransformationSequence": (("RescaleType",), ("RescaleSlope", "RescaleIntercept")),
    "CTImageFrameTypeSequence": (("FrameType", "VolumeBasedCalculationTechnique"), ()),
    "FrameContentSequence": (
        ("StackID",),
        ("TemporalPositionIndex", "FrameAcquisitionNumber", "InStackPositionNumber"),
    ),
    "CTReconstructionSequence": (("ConvolutionKernel",), ()),
    "CardiacSynchronizationSequence": ((), ("NominalPercentageOfCardiacPhase",)),
}
"""Functional groups that are used, with their texts and numbers."""
_CALLED = {"FrameType": "ImageType", "FrameAcquisitionNumber": "AcquisitionNumber"}
"""The names of these tags in single-frame images."""
_OF_A_FRAME = {name for texts, numbers in _MACROS.values() for name in (*texts, *numbers)} - {"ConvolutionKernel"}


def frame_headers(path: Path, header: Header) -> list[Header]:
    """A header for each frame. Raises InputError where the file does not say where each of its frames lies."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            shared = _first(data.get("SharedFunctionalGroupsSequence"))
            frames = list(data.get("PerFrameFunctionalGroupsSequence") or ())
        except Exception as error:  # a damaged sequence breaks pydicom in many places
            raise refused("its functional groups are damaged", path) from error
        if not frames:
            raise refused("it is multi-frame and states no place for each frame", path)
        if header.number("NumberOfFrames") != len(frames):
            raise refused(f"NumberOfFrames is not the number of its frames, {len(frames)}", path)
        return [_frame_header(header, shared, frame) for frame in frames]


def _frame_header(header: Header, shared: Any, frame: Any) -> Header:
    found = Header({name: value for name, value in header.items() if name not in _OF_A_FRAME})
    if "ImageType" in header:  # of the whole file; a frame may be more precise
        found["ImageType"] = header["ImageType"]
    found.pixel_bytes, found.pixels_cut, found.syntax = header.pixel_bytes, header.pixels_cut, header.syntax
    for macro, (texts, numbers) in _MACROS.items():
        item = _group(frame, macro) or _group(shared, macro)
        if item is None:
            continue
        values = Header()
        take(values, item, texts, numbers)
        found.update({_CALLED.get(name, name): value for name, value in values.items()})
    return found


def _group(groups: Any, macro: str) -> Any:
    try:
        return _first(groups.get(macro)) if groups is not None else None
    except Exception:  # damaged: what it should have said is then missing
        return None


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None
