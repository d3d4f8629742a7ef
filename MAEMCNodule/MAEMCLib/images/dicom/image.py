"""One CT image out of a header: its place, its scale, what kind of image it is; or what keeps it from being used.

The frames of an enhanced multi-frame CT are images as if each were a file of its own.
"""

import copy
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...files.strict_json import require
from .header import DAMAGED, Header, plain_values

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")  # the second: converted from single frames
DIRECTORY = "1.2.840.10008.1.3.10"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
COSINES_OFF = 1e-3
"""How far row and column cosines may be from unit length and from a right angle: rounding to three decimals."""
PROJECTED = "projection"
REFORMATTED = "reformatted"
_PROJECTIONS = {"MAXIP", "MINIP", "MAXIMUM", "MINIMUM", "RAYSUM", "VRT", "SSD"}
_PROJECTED_PHRASES = (" MAX IP ", " MIN IP ", " PROJECTION IMAGE ", " VOLUME RENDER ", " SURFACE RENDER ", " CURVED ")
_REFORMATS = {"REFORMATTED", "REFORMAT", "RESAMPLED", "AVERAGE", "MEAN", "CSAPARALLEL"}
_SCOUTS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "SCANOGRAM"}
_SCREENS = (" SCREEN SAVE ", " SCREENSAVE ", " SECONDARY CAPTURE ", " DOSE INFO ", " DOSE REPORT ")
_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleType", "RescaleSlope", "RescaleIntercept"),
    "CTImageFrameTypeSequence": ("FrameType", "VolumeBasedCalculationTechnique"),
    "FrameContentSequence": ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase",),
}
"""Functional groups that are used, with their tags."""
_CALLED = {"FrameType": "ImageType", "FrameAcquisitionNumber": "AcquisitionNumber"}
"""The names of these tags in single-frame images; the file's own stand where a frame has none."""
_OF_A_FRAME = {name for names in _MACROS.values() for name in names} - {"ConvolutionKernel"}


@dataclass(frozen=True)
class Slice:
    """One image of a series.

    frame: its number in a file of several, else None. position: (3,) LPS mm of the center of its first voxel.
    orientation: (6,) row and column cosines. pixel_spacing: (2,) mm between rows, between columns. shape: rows,
    columns. slope, intercept: from stored values to HU, None where none are stated.
    """

    path: Path
    frame: int | None
    header: Header
    position: np.ndarray
    orientation: np.ndarray
    pixel_spacing: np.ndarray
    shape: tuple[int, int]
    slope: float | None
    intercept: float | None

    @property
    def kind(self) -> str:
        """ "projection", "reformatted", "derived", "original", or "" where the header does not say."""
        return kind_of(self.header)

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector across the image."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    def corners(self) -> np.ndarray:
        """(3, 3) LPS mm of the centers of the first voxel, the last of the first row, the last of the first column."""
        along = self.orientation[:3] * self.pixel_spacing[1] * (self.shape[1] - 1)
        down = self.orientation[3:] * self.pixel_spacing[0] * (self.shape[0] - 1)
        return np.array([self.position, self.position + along, self.position + down])


def read_slices(path: Path, header: Header) -> list[Slice]:
    """The images of a file, checked. Raises InputError naming the tag and the file."""
    if not is_multiframe(header):
        return [read_slice(path, header)]
    return [read_slice(path, frame, number) for number, frame in enumerate(frame_headers(path, header))]


def read_slice(path: Path, header: Header, frame: int | None = None) -> Slice:
    """Check everything that is used of an image. Raises InputError naming the tag and the file."""
    try:
        shape = _checked_shape(header, frame)
        slope, intercept = _rescale(header)
        position, spacing = _numbers(header, "ImagePositionPatient", 3), _numbers(header, "PixelSpacing", 2)
        require((spacing > 0).all(), "PixelSpacing is not above zero")
        return Slice(path, frame, header, position, _orientation(header), spacing, shape, slope, intercept)
    except ValueError as reason:
        raise refused(str(reason), path) from None


def refused(reason: str, path: Path, code: str = "dicom-header") -> InputError:
    """A reason that names the file it is about, for the terminal alone."""
    return InputError(f"{reason} ({path.name})", code, [path.name])


def is_image(header: Header) -> bool:
    """Whether a header is of an image. A CD holds indexes, reports and contours beside them."""
    if header.pixel_bytes is not None or "Rows" in header:
        return True
    modality, classes = header.text("Modality"), {header.text("SOPClassUID"), header.media} - {""}
    if classes & {CT_IMAGE, *ENHANCED_CT}:
        return True
    if (modality != "CT" and re.fullmatch("[A-Z]{2,16}", modality)) or DIRECTORY in classes:
        return False
    of_another = all(re.fullmatch(r"[012](\.\d+){5,}", uid) for uid in classes)
    return not (modality and of_another)  # without any modality, or of CT: an image whose header is damaged


def kind_of(header: Header) -> str:
    """What an image is by ImageType (of a frame: FrameType) and VolumeBasedCalculationTechnique."""
    values = header.text("ImageType").upper()
    text = _phrases(f"{values}\\{header.text('VolumeBasedCalculationTechnique').upper()}")
    words = set(text.split())
    projection = words & _PROJECTIONS or any(w.startswith("MIP") or w.endswith("MIP") for w in words)
    if projection or any(phrase in text for phrase in _PROJECTED_PHRASES):
        return PROJECTED
    if words & _REFORMATS or any(w.startswith("MPR") or w.endswith("MPR") for w in words):
        return REFORMATTED
    return {"ORIGINAL": "original", "DERIVED": "derived"}.get(values.split("\\")[0], "")


def is_localizer(header: Header) -> bool:
    """Whether an image says that it is a scout view."""
    return bool(_SCOUTS & set(_phrases(header.text("ImageType").upper()).split()))


def is_screen(header: Header) -> bool:
    """Whether an image is a picture of a screen or a report, with no place in the patient."""
    if header.text("SOPClassUID").startswith(SECONDARY_CAPTURE):
        return True
    if any(phrase in _phrases(header.text("ImageType").upper()) for phrase in _SCREENS):
        return True
    if is_multiframe(header) or "ImagePositionPatient" in header:
        return False
    return header.text("Modality") != "CT" or "ImageOrientationPatient" not in header


def is_multiframe(header: Header) -> bool:
    """Whether a file holds several images, or says so in a form that cannot be understood."""
    return header.text("SOPClassUID") in ENHANCED_CT or header.get("NumberOfFrames", (1.0,)) != (1.0,)


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
    single = copy.copy(header)
    for name in _OF_A_FRAME & header.keys():
        del single[name]
    for macro, names in _MACROS.items():
        item = _group(frame, macro) or _group(shared, macro)
        values = plain_values(item, names) if item is not None else {}
        single.update({_CALLED.get(name, name): value for name, value in values.items()})
    return single


def _group(groups: Any, macro: str) -> Any:
    try:
        return _first(groups.get(macro)) if groups is not None else None
    except Exception:  # damaged: its tags are then missing
        return None


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _phrases(text: str) -> str:
    return " " + re.sub(r"[^A-Z0-9]+", " ", text) + " "


def _checked_shape(header: Header, frame: int | None) -> tuple[int, int]:
    """Rows and columns, after a check of the pixel module: one plain gray value per pixel, and as many bytes as the
    header states."""
    kind = header.text("SOPClassUID")
    require(kind, "SOPClassUID is missing")
    require(kind in (CT_IMAGE, *ENHANCED_CT), "SOPClassUID is not that of a CT image")
    require(header.text("Modality"), "Modality is missing")
    require(header.text("Modality") == "CT", "Modality is not CT")
    require(DAMAGED not in header.text("ImageType"), "ImageType cannot be decoded")
    require(header.text("PhotometricInterpretation") == "MONOCHROME2", "PhotometricInterpretation is not MONOCHROME2")
    _whole(header, "SamplesPerPixel", 1, 1)
    allocated = _whole(header, "BitsAllocated", 8, 32)
    require(allocated in (8, 16, 32), f"BitsAllocated is {allocated}")
    stored = _whole(header, "BitsStored", 1, allocated)
    _whole(header, "HighBit", stored - 1, stored - 1)
    _whole(header, "PixelRepresentation", 0, 1)
    frames = _whole(header, "NumberOfFrames", 1, 1 << 20) if "NumberOfFrames" in header else 1
    require(frame is not None or frames == 1, "it is multi-frame and states no place for each frame")
    require(header.pixel_bytes is not None, "it has no PixelData")
    require(not header.pixels_cut, "PixelData is cut short")
    shape = (_whole(header, "Rows", 2, 65535), _whole(header, "Columns", 2, 65535))
    wanted = frames * shape[0] * shape[1] * (allocated // 8)
    there = header.pixel_bytes
    whole = there < 0 or there in (wanted, wanted + wanted % 2)
    require(whole, f"PixelData has {there} bytes where Rows and Columns need {wanted}")
    return shape


def _rescale(header: Header) -> tuple[float | None, float | None]:
    names = ("RescaleSlope", "RescaleIntercept")
    if not header.keys() & names:
        return None, None
    slope, intercept = (float(_numbers(header, name, 1)[0]) for name in names)
    require(slope > 0, f"RescaleSlope is {slope:g}; it has to be above zero")
    return slope, intercept


def _orientation(header: Header) -> np.ndarray:
    cosines = _numbers(header, "ImageOrientationPatient", 6)
    row, column = cosines[:3], cosines[3:]
    off = max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1))
    require(off <= COSINES_OFF, "ImageOrientationPatient holds no unit vectors")
    require(abs(row @ column) <= COSINES_OFF, "ImageOrientationPatient holds vectors that are not at a right angle")
    return cosines


def _whole(header: Header, name: str, low: int, high: int) -> int:
    value = float(_numbers(header, name, 1)[0])
    require(value == int(value) and low <= value <= high, f"{name} is {value:g}")
    return int(value)


def _numbers(header: Header, name: str, count: int) -> np.ndarray:
    values = header.get(name, ())
    require(values, f"{name} is missing")
    number = f"{len(values)} value{'s' * (len(values) != 1)}"
    require(len(values) == count, f"{name} has {number} where {count} are needed")
    array = np.array(values)
    require((np.abs(array) <= 1e9).all(), f"{name} holds a value that is not a finite number")
    return array
