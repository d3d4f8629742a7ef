"""One small volume in every way of storing it that is read, for the tests of the readers."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

STORAGES = {  # the file that is named, and the one that holds the voxels
    "nrrd-gzip": ("ct.nrrd", "ct.nrrd"),
    "nrrd-raw": ("ct.nrrd", "ct.nrrd"),
    "nhdr-gzip": ("ct.nhdr", "ct.raw.gz"),
    "nhdr-raw": ("ct.nhdr", "ct.raw"),
    "mha-zlib": ("ct.mha", "ct.mha"),
    "mha-raw": ("ct.mha", "ct.mha"),
    "mhd-zlib": ("ct.mhd", "ct.zraw"),
    "mhd-raw": ("ct.mhd", "ct.raw"),
    "nifti-gzip": ("ct.nii.gz", "ct.nii.gz"),
    "nifti-raw": ("ct.nii", "ct.nii"),
    "pair-gzip": ("ct.hdr", "ct.img.gz"),
    "pair-raw": ("ct.hdr", "ct.img"),
}
COMPRESSED = [name for name in STORAGES if not name.endswith("raw")]


def image() -> sitk.Image:
    """A volume of 12 x 11 x 10 voxels along awkward axes."""
    generator = np.random.default_rng(0)
    array = generator.integers(-1000, 400, (10, 11, 12)).astype(np.int16)
    array[3:6] = -1000
    direction, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    direction[:, 0] *= np.sign(np.linalg.det(direction))
    found = sitk.GetImageFromArray(array)
    found.SetDirection(direction.ravel().tolist())
    found.SetSpacing((0.7, 0.8, 1.5))
    found.SetOrigin((-31.125, 12.25, 803.5))
    return found


def affine_of(stored: sitk.Image) -> np.ndarray:
    """(4, 4) index to LPS mm, as ITK tells it."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(stored.GetDirection()).reshape(3, 3) * np.array(stored.GetSpacing())
    affine[:3, 3] = stored.GetOrigin()
    return affine


def store(storage: str, folder: Path, stored: sitk.Image | None = None) -> Path:
    """Write it; returns the file that one names to read it."""
    folder.mkdir(parents=True, exist_ok=True)
    named, voxels = STORAGES[storage]
    sitk.WriteImage(stored or image(), str(folder / named), not storage.endswith("raw"))
    if storage == "pair-gzip":
        (folder / voxels).write_bytes(gzip.compress((folder / "ct.img").read_bytes(), mtime=0))
        (folder / "ct.img").unlink()
    assert (folder / voxels).is_file()
    return folder / named


def copied(source: Path, target: Path) -> Path:
    """A copy of a stored volume's folder, to damage; returns the file that one names."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source.parent, target)
    return target / source.name
