"""A whole 2-D picture, or a slice of a CT as one: read, assessed and shown at one or several angles."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..applicability import Finding
from ..cases.case import Case
from ..cases.values import ClinicalValues
from ..errors import ArchitectureError, InputError
from ..files.atomic import write_json
from ..images.ct import CTVolume, axial_slice, is_volume
from ..images.gray import Pixels, framed, gray_of
from ..images.reading_process import ReadingProcess
from ..results import DISCLAIMER, NoduleResult
from .input import Input, Model, Prepared
from .view import PicturePreprocessing, View, views

SMALLEST_SIDE = 8
"""Pixels; below this a picture shows nothing that could be scored."""
TOGETHER = 16
"""Pictures computed and written at once."""
_VOLUMES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
_ENLARGED = 4.0
_FRAME_AMBER, _FRAME_RED = 0.5, 0.75


@dataclass(frozen=True)
class GrayPicture:
    """gray: (rows, columns) in [0, 1]. padded_fraction: share of what the network sees that is the black frame."""

    gray: np.ndarray
    padded_fraction: float = 0.0
    point_lps: None = None


class Picture(Input):
    """See the module."""

    name, noun, described, title = "picture", "picture", "whole 2-D pictures", "Picture report"
    measured = sliced = True
    planes: ClassVar = {"mean": ("picture",)}
    settings = PicturePreprocessing
    array_names = ("picture",)

    def check(self, case: Case) -> None:
        if case.kind == "nodule":
            raise InputError("The row is a nodule in a CT; the model scores 2-D pictures only.", "input-kind")
        path = case.image
        whole = isinstance(path, Path) and self.slice_of(case) is None
        if whole and (path.is_dir() or path.name.lower().endswith(_VOLUMES)):
            raise InputError(
                f"{path} is {'a folder' if path.is_dir() else 'a volume'}, but the model scores single 2-D pictures: "
                "PNG, JPEG or one DICOM frame. A slice of a CT is named in a manifest, by a row of the kind slice.",
                "input-kind",
                [path],
            )

    def groups(self, cases: list[Case]) -> list[list[Case]]:
        return [cases[start : start + TOGETHER] for start in range(0, len(cases), TOGETHER)]

    def slice_of(self, case: Case) -> str | None:
        """The number of the slice that the case is of a volume; None where it is the whole of its image."""
        volume = case.kind == "slice" and (isinstance(case.image, CTVolume) or is_volume(case.image))
        return case.values.get("slice_index") if volume else None

    def prepare(
        self, case: Case, card: Model, values: ClinicalValues, reader: ReadingProcess | None = None, beside: bool = True
    ) -> Prepared:
        """Read a picture and assess its fitness for the model."""
        path = case.image if isinstance(case.image, Path) else case.image.name
        gray = self.gray(case, reader)
        if min(gray.shape) < SMALLEST_SIDE:
            raise InputError(
                f"The picture {path} has only {gray.shape[1]} x {gray.shape[0]} pixels; {SMALLEST_SIDE} a side are the "
                "least.",
                "size",
                [path],
            )
        if gray.min() == gray.max():
            raise InputError(
                f"The picture {path} has one gray value only. There is nothing to score.", "constant", [path]
            )
        view = View.of(gray, card.preprocessing)
        outside = view.outside(gray)
        findings = tuple(_findings(card.preprocessing.image_size / view.width, outside, card))
        return Prepared(GrayPicture(gray, outside), values, case, findings)

    def gray(self, case: Case, reader: ReadingProcess | None = None) -> np.ndarray:
        """(rows, columns) float32 in [0, 1]. reader: keeps a volume from one slice to the next. Raises InputError."""
        if isinstance(case.image, Pixels):
            return gray_of(case.image.values)
        if reader is None:
            with ReadingProcess() as reader:
                return self.gray(case, reader)
        index = self.slice_of(case)
        if index is None:
            return reader.read_gray(case.image)
        volume = case.image if isinstance(case.image, CTVolume) else reader.volume(case.image, case.series)
        return axial_slice(volume, index).astype(np.float32) / 255.0

    def check_side(self, settings: PicturePreprocessing, side: int, model: str) -> None:
        if settings.image_size != side:
            raise ArchitectureError(
                f"The model {model} prepares pictures of {settings.image_size} pixels, but its network takes {side}. "
                "Get the model again.",
            )

    def limits(self, card: Model) -> dict[str, str]:
        side, share = card.preprocessing.image_size, card.preprocessing.view_share
        part = "" if share == 1 else f", of them the middle {share:.0%} of the longer side"
        return {"Pictures": f"2-D, seen at {side} x {side} pixels{part}"}

    def images(self, region: GrayPicture, plane: str, settings: PicturePreprocessing, side: int) -> np.ndarray:
        return views(region.gray, settings)

    def synthetic(self, number: int) -> GrayPicture:
        """(200, 300): a dark ellipse on structured gray, the same for every number."""
        row, column = np.meshgrid(np.arange(200), np.arange(300), indexing="ij")
        texture = (row * row + 3 * column * column + 5 * row * column) % 61
        dark = 4 * (row - 90) ** 2 + (column - 160) ** 2 < 4000
        return GrayPicture(np.where(dark, 20 + texture // 2, 110 + texture).astype(np.float32) / np.float32(255))

    def arrays(self, region: GrayPicture, settings: PicturePreprocessing) -> dict[str, np.ndarray]:
        large = 0 < settings.stored_side < max(region.gray.shape)
        return {"picture": framed(region.gray, settings.stored_side) if large else region.gray}

    def region(self, arrays: Mapping[str, np.ndarray]) -> GrayPicture:
        return GrayPicture(arrays["picture"])

    def restored(self, image: np.ndarray, settings: PicturePreprocessing) -> np.ndarray:
        return np.clip(image * settings.std + settings.mean, 0.0, 1.0).astype(np.float32)

    def figures(self, result: NoduleResult, case: Prepared, explanation: Any) -> dict[str, Any]:
        """The first map on the picture."""
        from ..figures.picture import map_figure

        gray, settings = case.region.gray, explanation.card.preprocessing
        found, sanity = explanation.maps["picture"][0], explanation.sanity["picture"][0]
        return {"overlay": map_figure(result, gray, View.of(gray, settings), found, sanity, settings.image_size)}

    def draw(self, folder: Path, result: NoduleResult, case: Prepared, explanation: Any) -> list[Path]:
        """The figure."""
        from ..figures.nodule import save_figure

        save_figure(self.figures(result, case, explanation)["overlay"], folder / "overlay.png")
        return [folder / "overlay.png"]

    def write(self, folder: Path, result: NoduleResult, case: Prepared, explanation: Any) -> list[str]:
        """Every map as PNG and as arrays, with the figures of what each is worth, and the reconstruction."""
        from ..figures.nodule import save_figure
        from ..figures.picture import heads_figure, map_figure, reconstruction_figure
        from ..figures.words import TITLES, sentences, worth_lines

        card, settings, gray, listed, lines = explanation.card, explanation.card.preprocessing, case.region.gray, [], []
        side, view = settings.image_size, View.of(gray, settings)
        for found, sanity in zip(explanation.maps["picture"], explanation.sanity["picture"], strict=True):
            save_figure(map_figure(result, gray, view, found, sanity, side), folder / f"{found.kind}.png")
            _save_arrays(folder, found.kind, found.grid, found.interpolated(side))
            if found.heads is not None:
                heads = found.heads_interpolated(side)
                save_figure(heads_figure(gray, view, found.heads, heads), folder / "heads.png")
                _save_arrays(folder, "heads", found.heads, heads)
            listed.append({"kind": found.kind, "grid": list(found.grid.shape), "sanity": asdict(sanity)})
            lines += [TITLES[found.kind], *(f"    {line}" for line in worth_lines(sanity, result.class_name))]
        if explanation.reconstruction:
            reconstructed, error = explanation.reconstruction["picture"], explanation.error["picture"]
            seen = self.restored(self.images(case.region, "picture", settings, side)[0], settings)
            save_figure(reconstruction_figure(result, seen, reconstructed, error), folder / "reconstruction.png")
            np.save(folder / "reconstruction.npy", reconstructed)
            np.save(folder / "error.npy", error)
        document = {
            "schema": 1,
            "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
            "image": result.image,
            "probability": result.probability,
            "class": result.class_name,
            "view": asdict(view),  # where the square of the interpolated maps lies, in the picture's pixels
            "side": side,
            "maps": listed,
            "disclaimer": DISCLAIMER,
        }
        write_json(folder / "maps.json", document)
        if "attention" not in [found.kind for found in explanation.maps["picture"]]:
            lines.append("The model's network has no attention weights; Grad-CAM stands in their place.")
        return [*lines, *sentences(explanation), *([explanation.problem] if explanation.problem else [])]


def _save_arrays(folder: Path, name: str, grid: np.ndarray, grown: np.ndarray) -> None:
    np.save(folder / f"{name}.npy", grid)
    np.save(folder / f"{name}_interpolated.npy", grown)


def _findings(enlarged: float, outside: float, card: Model) -> Iterator[Finding]:
    """enlarged: how many times, for the network. outside: share of what it sees that is the frame."""
    if enlarged > _ENLARGED:
        yield Finding("amber", "enlarged", f"It has few pixels: it is enlarged {enlarged:.1f} times for the model.")
    if outside > _FRAME_AMBER:
        text = f"It is so long that {outside:.0%} of what the model sees is the black frame about it."
        yield Finding("red" if outside > _FRAME_RED else "amber", "long", text)
    if not card.training_distances:
        text = "The model cannot tell whether the picture is like those that it was trained on."
        yield Finding("grey", "likeness-unknown", text)


INPUT = Picture()
