"""What links a volume to others of its patient: read from DICOM, carried along, and shown nowhere."""

import pytest
from dicom_files import write_series
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.examination import Examination
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.images.reading_process import ReadingProcess


def dated(**dates):
    def change(item, k):
        for name, value in dates.items():
            setattr(item, name, value)

    return change


def examined(folder, **given) -> Examination:
    write_series(folder, **given)
    return read_volume(folder).examination


def test_patient_frame_and_days(tmp_path):
    frame = "1.2.826.0.1.3680043.8.498.77"
    first = examined(tmp_path / "a", patient="P-77", frame=frame, change=dated(AcquisitionDate="20240228"))
    later = examined(tmp_path / "b", patient="P-77", frame=frame, change=dated(AcquisitionDate="20240301"))
    other = examined(tmp_path / "c", patient="P-78", frame=frame, change=dated(AcquisitionDate="20230301"))
    moved = examined(tmp_path / "d", patient="P-77")
    assert first.days_until(later) == 2 and later.days_until(first) == -2  # a leap year
    assert other.days_until(later) == 366
    assert first.of_same_patient(later) is True and first.of_same_patient(other) is False
    assert first.shares_frame(later) and not first.shares_frame(other) and not first.shares_frame(moved)
    assert moved.days_until(first) is None and first.days_until(moved) is None


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        ({"AcquisitionDate": "20240110", "StudyDate": "20240101"}, 9),
        ({"AcquisitionDateTime": "20240105093000.5"}, 4),
        ({"AcquisitionDate": "", "StudyDate": "20240103"}, 2),
        ({"AcquisitionDate": "20240231", "StudyDate": "20240103"}, 2),  # no such day
        ({"StudyDate": "2024"}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_the_first_date_that_is_one_counts(tmp_path, dates, days):
    start = examined(tmp_path / "start", change=dated(AcquisitionDate="20240101"))
    assert start.days_until(examined(tmp_path / "other", change=dated(**dates))) == days


def test_nothing_of_it_is_readable_or_written(tmp_path):
    write_series(tmp_path / "s", patient="SMITH-1234", frame="1.2.3.4.99", change=dated(AcquisitionDate="20240228"))
    volume = read_volume(tmp_path / "s")
    held = volume.examination
    assert held.patient and held.frame and "SMITH" not in held.patient and "1.2.3.4" not in held.frame
    text = repr(volume)
    for secret in ("SMITH-1234", "1.2.3.4.99", "20240228", held.patient, held.frame, str(held.day)):
        assert secret not in text
    write_volume(volume, tmp_path / "copy.nrrd")
    content = (tmp_path / "copy.nrrd").read_bytes()
    for secret in (b"SMITH", b"1.2.3.4.99", b"20240228", held.patient.encode(), str(held.day).encode()):
        assert secret not in content.split(b"\n\n")[0]
    assert read_volume(tmp_path / "copy.nrrd").examination == Examination()


def test_it_is_carried_along(tmp_path):
    write_series(tmp_path / "s", patient="P-77", change=dated(StudyDate="20240228"))
    expected = read_volume(tmp_path / "s").examination
    with ReadingProcess() as reader:
        volume = reader.read(tmp_path / "s")
    assert volume.examination == expected != Examination()
    assert volume.oriented.examination == expected


def test_what_is_not_known_is_neither_the_same_nor_another():
    nobody, somebody = Examination(), Examination(patient="a", frame="f", day=3)
    assert nobody.of_same_patient(somebody) is None and somebody.of_same_patient(nobody) is None
    assert not nobody.shares_frame(nobody) and nobody.days_until(somebody) is None
    assert CTVolume.__dataclass_fields__["examination"].default_factory() == nobody
