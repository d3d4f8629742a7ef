"""What a message keeps when it is written down."""

import pytest
from MAEMCLib.errors import DICOM_SERIES, InputError


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Meyer.nrrd is cut short.", "The file is cut short."),
        ("It was read. Meyer.nrrd is cut short.", "It was read. The file is cut short."),
        ("The series image_2 cannot be used: Meyer.nrrd is cut short.",
         "The series image_2 cannot be used: the file is cut short."),
        ("PixelSpacing is missing (Meyer.nrrd).", "PixelSpacing is missing ([...])."),
    ],
)  # fmt: skip
def test_a_sentence_about_a_file_stays_a_sentence_without_its_name(said, written):
    assert InputError(said, "input", ["Meyer.nrrd"]).anonymous == written


def test_the_words_for_any_dicom_series_are_nobodys_name():
    error = InputError(f"{DICOM_SERIES} lacks 2 slices.", "input", [DICOM_SERIES])
    assert error.hide(DICOM_SERIES).anonymous == "The DICOM series lacks 2 slices."
