"""Who decides, and the commands on reviews."""

import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.results import NoduleResult
from MAEMCLib.review.observer import Observer, read_observer, store_observer
from MAEMCLib.review.reviews import Reviews

RESULT = NoduleResult("N1", (1.0, -2.5, 3.25), "scored", gate="green", probability=0.83)


@pytest.mark.parametrize("name", ["", "  ", "a" * 65, "Doe\nJane", "Doe\\Jane"])
def test_an_observer_has_a_name_that_dicom_takes(name):
    with pytest.raises(UsageError, match="printable"):
        Observer(name, "General Hospital")
    with pytest.raises(UsageError, match="organization"):
        Observer("Doe^Jane", name)


def test_a_damaged_observer_is_a_sentence(maemc_home):
    assert read_observer(maemc_home) is None
    for text in ("{", '{"name": "a"}', '{"name": "", "organization": "b"}', '{"name": 3, "organization": "b"}', "[]"):
        (maemc_home / "observer.json").write_text(text)
        with pytest.raises(InputError, match="observer"):
            read_observer(maemc_home)


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(InputError, match="MAEMC_HOME"):
        store_observer(tmp_path / "home", Observer("Doe^Jane", "General Hospital"))
    reviews = Reviews(tmp_path / "other")
    (tmp_path / "other").write_text("")
    with pytest.raises(InputError, match="MAEMC_HOME"):
        reviews.reader_first = True
    assert not reviews.reader_first


def test_the_commands(maemc_home, capsys, tmp_path, random_bundle):
    reviews, card = Reviews(maemc_home), ModelBundle.open(random_bundle).card
    subject = reviews.subject("1.2.840.99", "N1")

    def maemc(*arguments):
        code = main(["review", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    reviews.reader_first = True
    reviews.estimate(subject, 65)
    code, out, _ = maemc("list")
    assert code == 0 and subject.nodule in out and "65 %" in out and "hidden" in out
    assert "Research only, not for clinical use." in out
    assert maemc("accept", subject.nodule)[0] == 2
    reviews.reveal(subject, RESULT, card)
    code, _, err = maemc("accept", subject.nodule)
    assert code == 2 and "Nobody is named" in err
    assert maemc("accept", subject.nodule, "--observer", "Doe^Jane")[0] == 2
    assert maemc("accept", subject.nodule, "--observer", "Doe^Jane", "--organization", "General Hospital")[0] == 0
    assert maemc("outcome", subject.nodule, "malignant", "--date", "2026-02-03")[0] == 0
    out = maemc("list")[1]
    assert "0.830" in out and "accepted" in out and "malignant 2026-02-03" in out
    assert maemc("reject", subject.nodule)[0] == 0 and "rejected" in maemc("list")[1]
    figure = tmp_path / "calibration.png"
    code, out, _ = maemc("calibration", "--model", random_bundle, "--output", figure)
    assert code == 0 and figure.read_bytes().startswith(b"\x89PNG") and "1 of 20 outcomes" in out
    assert "not for clinical use" in out
    lines = reviews.log.path.read_bytes().splitlines(keepends=True)
    reviews.log.path.write_bytes(b"".join([lines[0], *lines[2:]]) + b"torn\n")
    out = maemc("list")[1]
    assert "do not follow" in out and "torn" in out
