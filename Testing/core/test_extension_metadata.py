"""What the Extensions Index checks before it takes an extension; a failure there blocks the pull request."""

import re
import struct
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LICENSE_NAMES = {
    "LICENSE",
    "LICENCE",
    "License.txt",
    "license.txt",
    "LICENSE.txt",
    "COPYING",
    "COPYING.txt",
}
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def cmake() -> str:
    return (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")


def value(cmake: str, name: str) -> str:
    """The literal quoted string that a variable is set to; the Index reads it without running CMake."""
    found = re.findall(rf'^set\({name} "([^"]*)"\)$', cmake, re.MULTILINE)
    assert len(found) == 1, f"{name} is not set to one quoted string on one line"
    assert "$" not in found[0], f"{name} holds a variable"
    return found[0]


def test_project_is_named_as_the_extension_and_the_repository_after_it(cmake):
    (name,) = re.findall(r"^\s*project\(\s*(\w+)\s*\)", cmake, re.MULTILINE)
    assert name == "MAEMC"
    assert not name.lower().startswith("slicer")
    assert f"/Slicer{name}" in value(cmake, "EXTENSION_HOMEPAGE")


def test_cmake_is_that_of_the_extension_template(cmake):
    assert "cmake_minimum_required(VERSION 3.28.0...3.28.0" in cmake


def test_description_names_what_it_is_not_for(cmake):
    description = value(cmake, "EXTENSION_DESCRIPTION")
    assert "not for clinical use" in description
    assert value(cmake, "EXTENSION_CONTRIBUTORS")


def test_depends_on_the_pytorch_extension_only(cmake):
    assert value(cmake, "EXTENSION_DEPENDS") == "PyTorch"


def test_pictures_are_raw_links_to_png_files_of_this_repository(cmake):
    urls = [value(cmake, "EXTENSION_ICONURL"), *value(cmake, "EXTENSION_SCREENSHOTURLS").split()]
    assert len(urls) >= 2
    for url in urls:
        match = re.fullmatch(r"https://raw\.githubusercontent\.com/MAEMC/SlicerMAEMC/main/(\S+\.png)", url)
        assert match, f"not a raw link to a PNG file on the branch main: {url}"
        width, height = png_size(REPOSITORY / match[1])
        assert width and height


def test_icons_are_square(cmake):
    assert png_size(REPOSITORY / "Resources" / "Icons" / "MAEMC.png") == (128, 128)
    for module in ("MAEMCNodule", "MAEMCTraining"):
        width, height = png_size(REPOSITORY / module / "Resources" / "Icons" / f"{module}.png")
        assert width == height


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file, told by its first bytes."""
    start = path.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n", f"{path.name} is no PNG file"
    return struct.unpack(">II", start[16:24])


def test_license_has_a_name_that_the_index_knows():
    found = LICENSE_NAMES & {path.name for path in REPOSITORY.iterdir()}
    assert found == {"LICENSE"}
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


def test_sizes_stay_below_the_limits():
    """25 MB a file, 60 MB the files together, 60 MB the history; the Index allows a clone of 100 MB."""
    sizes = {path: path.stat().st_size for path in files_of_the_repository()}
    large = {path.name: size for path, size in sizes.items() if size > 25 * MEBIBYTE}
    assert large == {}
    assert sum(sizes.values()) < 60 * MEBIBYTE
    if (REPOSITORY / ".git").exists():
        # What a clone of this branch brings; a checkout may hold other branches, and some of it twice.
        assert int(git("rev-list", "--objects", "--disk-usage", "HEAD")) < 60 * MEBIBYTE


def test_no_volumes_weights_or_videos_but_the_shipped_ones():
    """Data that users bring stays out of the repository; what is shipped lies in Resources, small networks that
    nobody chooses beside their code, what an earlier revision wrote in Testing/artifacts."""
    beside = {"MAEMCNodule/MAEMCLib/measures/outline.safetensors", "MAEMCNodule/MAEMCLib/presence/presence.safetensors"}
    suffixes = (".nrrd", ".nii", ".nii.gz", ".mha", ".dcm", ".maemc", ".safetensors", ".pt", ".pth", ".mp4", ".avi")
    found = [path.relative_to(REPOSITORY) for path in files_of_the_repository() if path.name.endswith(suffixes)]
    assert {path.as_posix() for path in found if not {"Resources", "artifacts"} & set(path.parts)} == beside


def files_of_the_repository() -> list[Path]:
    """What git would commit; without git, skips."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    names = git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    return [path for path in (REPOSITORY / name for name in names if name) if path.is_file()]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
