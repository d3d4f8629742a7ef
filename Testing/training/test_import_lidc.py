"""The importer of LIDC-IDRI on a tree that these tests write: CT series in DICOM with balls in them, and the readings
of them in XML, with the contour pixels just outside each ball as LIDC has them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import read_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers.formats.lidc import import_lidc
from MAEMCTrainingLib.data.importers.lidc_nodules import fill
from MAEMCTrainingLib.data.importers.lidc_xml import Contour
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy.ndimage import binary_dilation

SHAPE = (40, 80, 90)  # slices, rows, columns
SERIES, PATIENT = "1.2.840.99.1", "LIDC-IDRI-9999"
# The patient lies prone: columns run to the right, rows to anterior. Rows and columns are spaced differently.
AXES = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = AXES * [0.6, 0.7, 1.25]
AFFINE[:3, 3] = (33.0, 41.5, -300.0)


def sop(k, series=SERIES) -> str:
    return f"{series}.5.{k}"


def ball(i, j, k, radius) -> np.ndarray:
    """Mask of a ball: center as a fractional index, radius in mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)[..., ::-1]
    return np.linalg.norm((index - (i, j, k)) * (0.6, 0.7, 1.25), axis=-1) <= radius


def write_series(folder: Path, hu: np.ndarray, series=SERIES, patient=PATIENT, modality="CT", skip=()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, pixels in enumerate(hu):
        if k in skip:
            continue
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = sop(k, series)
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID, item.SeriesInstanceUID = CTImageStorage, sop(k, series), series
        item.StudyInstanceUID, item.FrameOfReferenceUID = "1.2.840.99.7", "1.2.840.99.8"
        item.Modality, item.ImageType, item.PatientID, item.PatientName = modality, ["ORIGINAL", "AXIAL"], patient, "X"
        item.Rows, item.Columns, item.PixelSpacing, item.SliceThickness = *pixels.shape, [0.7, 0.6], 2.5
        item.ImageOrientationPatient = [*AXES[:, 0].tolist(), *AXES[:, 1].tolist()]
        item.ImagePositionPatient = (AFFINE[:3, 3] + k * AFFINE[:3, 2]).tolist()
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 0
        item.RescaleSlope, item.RescaleIntercept = 1, -1024
        item.PixelData = (pixels + 1024).astype("<u2").tobytes()
        item.save_as(folder / f"{(k * 7) % len(hu):06d}.dcm", enforce_file_format=True)  # names in no order


def ring(mask: np.ndarray) -> list[tuple[int, int]]:
    """(column, row) of the pixels just outside a mask, which share a side with it, in the order of a walk around it."""
    edge = np.argwhere(binary_dilation(mask) & ~mask)
    rows, columns = (edge - np.argwhere(mask).mean(axis=0)).T
    return [(int(c), int(r)) for r, c in edge[np.argsort(np.arctan2(rows, columns))]]


def roi_xml(k, points, inclusion="TRUE", series=SERIES) -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<roi><imageZposition>{-300 + 1.25 * k}</imageZposition><imageSOP_UID>{sop(k, series)}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{edges}</roi>"
    )


def nodule_xml(name, mask=None, malignancy=3, hole=None, rois="") -> str:
    rated = f"<malignancy>{malignancy}</malignancy>" if malignancy is not None else ""
    characteristics = f"<characteristics><subtlety>4</subtlety>{rated}</characteristics>" if rated else ""
    for k in np.unique(np.nonzero(mask)[0]) if mask is not None else ():
        points = ring(mask[k])
        rois += roi_xml(k, [*points, points[0]])  # closed, as most of LIDC's are
        if hole is not None and hole[k].any():
            # Just outside the nodule means within the hole: its own outermost pixels.
            inner = hole[k] & ~binary_dilation(~hole[k])
            border = np.argwhere(hole[k] & ~inner) if inner.any() else np.argwhere(hole[k])
            rows, columns = (border - np.argwhere(hole[k]).mean(axis=0)).T
            order = np.argsort(np.arctan2(rows, columns))
            rois += roi_xml(k, [(int(c), int(r)) for r, c in border[order]], "FALSE")
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{characteristics}{rois}</unblindedReadNodule>"


def message(*sessions, series=SERIES, namespace="http://www.nih.gov") -> str:
    read = "".join(
        f"<readingSession><servicingRadiologistID>anonymous</servicingRadiologistID>{session}</readingSession>"
        for session in sessions
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><LidcReadMessage uid="1.3" xmlns="{namespace}"><ResponseHeader>'
        f"<Version>1.8.1</Version><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>{read}"
        "</LidcReadMessage>"
    )


LARGE = [ball(30, 40, 18, radius) for radius in (5.0, 5.5, 7.0, 6.0)]  # one a reader
CHEEK = ball(42.5, 40, 18, 2.4)  # touches the largest reading of LARGE
HOLLOW, HOLE = ball(70, 60, 30, 5.0), ball(72.5, 61, 31, 2.2)
DOUBT = ball(20, 15, 10, 3.0)

SMALL = "<unblindedReadNodule><noduleID>tiny</noduleID>" + roi_xml(5, [(50, 50)]) + "</unblindedReadNodule>"
OTHER = "<nonNodule><nonNoduleID>vessel</nonNoduleID><imageSOP_UID>x</imageSOP_UID><locus/></nonNodule>"
READERS = (
    nodule_xml("a1", LARGE[0], 4) + nodule_xml("b1", HOLLOW, 1, HOLE) + SMALL,
    nodule_xml("a2", LARGE[1], 5) + nodule_xml("b2", HOLLOW, 2, HOLE) + nodule_xml("d2", DOUBT, 2),
    nodule_xml("a3", LARGE[2], 4) + nodule_xml("c3", CHEEK, 3) + OTHER,
    nodule_xml("a4", LARGE[3], 5) + nodule_xml("d4", DOUBT, 3),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree as TCIA ships it, with the spoiled and the foreign files that belong to it."""
    folder = tmp_path_factory.mktemp("lidc") / "LIDC-IDRI"
    hu = np.full(SHAPE, -850, dtype=np.int16)
    hu[LARGE[3] | HOLLOW & ~HOLE | CHEEK | DOUBT] = 30
    study = folder / PATIENT / "01-01-2000-NA-NA-30178" / "3000566.000000-NA-03192"
    write_series(study, hu)
    (study / "069.xml").write_text(message(*READERS), encoding="utf-8")
    copies = folder / "LIDC-XML-only" / "157"
    copies.mkdir(parents=True)
    shutil.copy(study / "069.xml", copies / "158.xml")
    film = '<IdriReadMessage xmlns="http://www.nih.gov/idri"><ResponseHeader/></IdriReadMessage>'
    (copies / "film.xml").write_text(film)
    (copies / "gone.xml").write_text(message(READERS[0], series="1.2.840.99.404"))
    (copies / "cut.xml").write_text(message(*READERS)[:5000])
    (copies / "bomb.xml").write_text('<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aa">]><LidcReadMessage>&a;')
    (copies / "other.xml").write_text("<annotation/>")
    (copies / "nameless.xml").write_text(message(READERS[0], series=""))
    write_series(folder / PATIENT / "film", hu[:1], "1.2.840.99.2", modality="CR")
    write_series(folder / "LIDC-IDRI-9998" / "gap", hu[:12], "1.2.840.99.3", "LIDC-IDRI-9998", skip=(5,))
    (copies / "gap.xml").write_text(message(READERS[0], series="1.2.840.99.3"))
    write_series(folder / "LIDC-IDRI-9997" / "unread", hu[:12], "1.2.840.99.4", "LIDC-IDRI-9997")
    return folder


@pytest.fixture(scope="module")
def found(tree):
    return import_lidc(tree, tree / "unused")


def reason(found, *names) -> str:
    """The reason of the only skipped item whose name holds these words."""
    (item,) = [item for item in found.skipped if all(name in item.name for name in names)]
    return item.reason


def expected(masks) -> tuple[np.ndarray, float]:
    """Center in LPS mm and longest axial diameter of what half of the readers outlined, the slow and obvious way."""
    consensus = np.sum(masks, axis=0) >= len(masks) / 2
    places = [AFFINE @ (i, j, k, 1) for k, j, i in np.argwhere(consensus)]
    longest = 0.0
    for k in range(SHAPE[0]):
        pixels = [AFFINE @ (i, j, k, 1) for j, i in np.argwhere(consensus[k])]
        longest = max([longest, *(np.linalg.norm(a - b) for a in pixels for b in pixels)])
    return np.mean(places, axis=0)[:3], longest + 0.65


def test_marks_become_nodules_with_consensus_and_median_label(found):
    facts = {(row.values["malignancy_median"], row.values["readers"]): row for row in found.rows}
    assert len(facts) == len(found.rows) == 4
    large, hollow, cheek, doubt = (facts[key] for key in (("4.5", "4"), ("1.5", "2"), ("3", "1"), ("2.5", "2")))
    assert (large.label, hollow.label, cheek.label, doubt.label) == (1, 0, None, None)
    for row, masks in (
        (large, LARGE),
        (hollow, [HOLLOW & ~HOLE] * 2),
        (cheek, [CHEEK]),
        (doubt, [DOUBT] * 2),
    ):
        center, diameter = expected(masks)
        assert np.allclose(row.point_lps, center, atol=1e-9)
        assert row.diameter_mm == pytest.approx(diameter)
    assert found.rows == sorted(found.rows, key=lambda row: row.point_lps[2])
    assert large.values["modality"] == "CT" and large.values["anatomy"] == "CHEST"
    assert large.values["slice_thickness_mm"] == "2.5"
    assert {row.patient_id for row in found.rows} == {PATIENT}


def test_the_point_is_where_the_ball_is_in_the_ct(found):
    row = next(row for row in found.rows if row.values["readers"] == "4")
    volume = read_volume(row.image)
    assert volume.array.shape == SHAPE
    roi = cut_roi(volume, row.point_lps)
    bright = roi.axial > -400
    bright &= np.linalg.norm(np.indices(bright.shape).T - (12, 24.5, 24.5), axis=-1).T < 8.5  # without its neighbors
    assert np.abs(np.argwhere(bright).mean(axis=0) - (12, 24.5, 24.5)).max() < 0.5


def test_everything_skipped_is_named_with_its_reason(found):
    assert "under 3 mm: one point" in reason(found, "069.xml", "reader 1", "tiny")
    assert "no nodule" in reason(found, "069.xml", "reader 3", "vessel")
    assert "the same reading as" in reason(found, "158.xml")
    assert "radiograph" in reason(found, "film.xml")
    assert "not among the DICOM files" in reason(found, "gone.xml")
    assert "cut short" in reason(found, "cut.xml")
    assert "DOCTYPE" in reason(found, "bomb.xml")
    assert "its root is annotation" in reason(found, "other.xml")
    assert "no SeriesInstanceUid" in reason(found, "nameless.xml")
    assert "slices are missing" in reason(found, "gap.xml")
    assert "modality CR" in reason(found, f"{PATIENT}/film")
    assert "no XML file" in reason(found, "unread")
    assert len(found.skipped) == 12


def spoiled(tmp_path, *sessions, **values):
    """An import of one series with these readings."""
    folder = tmp_path / "tree"
    write_series(folder / "ct", np.full(SHAPE, -850, dtype=np.int16))
    (folder / "x.xml").write_text(message(*sessions, **values), encoding="utf-8")
    return import_lidc(folder, tmp_path)


def test_a_mark_that_lacks_a_part_is_skipped_and_the_others_stay(tmp_path):
    spoilt = {
        "strange": nodule_xml("strange", rois=roi_xml(3, [(4, 4), (5, 5), (6, 4)], series="1.2.3")),
        "outside": nodule_xml("outside", rois=roi_xml(3, [(4, 4), (95, 5), (6, 4)])),
        "unrated": nodule_xml("unrated", DOUBT, None),
        "six": nodule_xml("six", DOUBT, 6),
        "maybe": nodule_xml("maybe", rois=roi_xml(3, [(4, 4)] * 3, "MAYBE")),
        "halves": nodule_xml("halves", rois=roi_xml(3, [(4.5, 4), (5, 5), (6, 4)])),
        "point": nodule_xml("point", rois=roi_xml(3, [(4, 4)])),
        "blank": nodule_xml("blank"),
        "only-hole": nodule_xml("only-hole", rois=roi_xml(3, [(4, 4), (5, 6), (6, 4)], "FALSE")),
    }
    found = spoiled(tmp_path, nodule_xml("good", DOUBT, 5) + "".join(spoilt.values()), namespace="http://elsewhere")
    assert [row.label for row in found.rows] == [1]
    for name, words in (
        ("strange", "not in the series"),
        ("outside", "leaves the image"),
        ("unrated", "rated ''"),
        ("six", "rated '6'"),
        ("maybe", "MAYBE"),
        ("halves", "no whole number"),
        ("point", "one point instead of an outline"),
        ("blank", "no outline"),
        ("only-hole", "include nothing"),
    ):
        assert words in reason(found, f"nodule {name}")


def test_a_reader_is_counted_once_however_often_he_outlined_it(tmp_path):
    """Reader 1 outlined one nodule twice; reader 2 outlined two neighbors, and reader 3 the one between them."""
    near, beside = ball(31, 15, 10, 2.9), ball(28, 15, 10, 3.0)
    assert (DOUBT & beside).any() and (near & beside).any() and not (DOUBT & near).any()
    found = spoiled(
        tmp_path,
        nodule_xml("once", DOUBT, 4) + nodule_xml("again", ball(20.5, 15, 10, 2.8), 5),
        nodule_xml("whole", DOUBT, 5) + nodule_xml("near", near, 1),
        nodule_xml("beside", beside, 1),
    )
    facts = sorted((row.values["readers"], row.values["malignancy_median"]) for row in found.rows)
    assert facts == [("2", "1"), ("2", "4.75")]


def test_outlines_of_a_small_nodule_that_miss_each_other_are_one_nodule(tmp_path):
    first, above, far = (nodule_xml(n, ball(*at, 0.8), 2) for n, at in (
        ("first", (30, 40, 18)), ("above", (30.4, 40, 19)), ("far", (34, 40, 18))))  # fmt: skip
    assert [row.values["readers"] for row in spoiled(tmp_path, first, above).rows] == ["2"]
    assert [row.values["readers"] for row in spoiled(tmp_path, first, far).rows] == ["1", "1"]


def test_a_contour_around_no_pixel_still_has_its_place(tmp_path):
    points = [(40, 30), (41, 30), (41, 31), (40, 31)]
    (row,) = spoiled(tmp_path, nodule_xml("x", rois=roi_xml(7, points), malignancy=2)).rows
    assert np.allclose(row.point_lps, (AFFINE @ (40.5, 30.5, 7, 1))[:3])


@pytest.mark.parametrize("seed", range(6))
def test_filling_gives_back_what_was_outlined(seed):
    """Lobed shapes, outlined as LIDC does; the contour's own pixels are not part of them."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:70, :80]
    angle = np.arctan2(rows - 35, columns - 40)
    radius = 16 + 3 * np.sin(3 * angle + draws.uniform(0, 6)) + 2 * np.cos(5 * angle + draws.uniform(0, 6))
    mask = np.hypot(rows - 35, columns - 40) < radius
    points = np.array(ring(mask))
    for some in (points, points[::2], points[::-1]):  # whole, with every second point left out, the other way around
        surrounded, edge = fill(Contour("", True, some), 80)
        filled = np.zeros(mask.size, dtype=bool)
        filled[surrounded] = True
        if some is points or len(some) == len(points):
            assert np.array_equal(filled.reshape(mask.shape), mask)
            assert set(edge) == {r * 80 + c for c, r in points}
        else:
            assert (filled.reshape(mask.shape) != mask).sum() < 0.1 * mask.sum()


def test_the_command_writes_pseudonyms_and_says_what_it_skipped(tree, tmp_path, capsys):
    output = tmp_path / "manifest.csv"
    assert main(["import", "lidc", str(tree), "--output", str(output)]) == 0
    said = capsys.readouterr()
    assert "4 cases, 1 patients, 1 benign, 1 malignant, 2 unlabeled; 12 skipped" in said.err
    assert said.err.count("skipped ") >= 12 and "reader 1, nodule tiny" in said.err
    rows = read_manifest(output).rows
    without_images = [(row.case_id, row.patient_id, *row.values.values()) for row in rows]
    assert not any(SERIES in value or PATIENT in value for values in without_images for value in values)
    assert main(["import", "lidc", str(tree), "--output", str(tmp_path / "kept.csv"), "--keep-ids"]) == 0
    kept = read_manifest(tmp_path / "kept.csv").rows
    assert kept[0].patient_id == PATIENT and SERIES in kept[0].case_id
    assert [row.point_lps for row in kept] == [row.point_lps for row in rows]


def test_folders_that_are_no_lidc_are_refused(tree, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        import_lidc(tmp_path / "none", tmp_path)
    with pytest.raises(InputError, match="no DICOM"):
        import_lidc(tmp_path, tmp_path)
    with pytest.raises(InputError, match="holds no XML"):
        import_lidc(tree / "LIDC-IDRI-9997", tmp_path)
    output = tmp_path / "m.csv"
    shutil.copytree(tree / "LIDC-IDRI-9998", tmp_path / "gap")
    shutil.copy(tree / "LIDC-XML-only" / "157" / "gap.xml", tmp_path / "gap")
    assert main(["import", "lidc", str(tmp_path / "gap"), "--output", str(output)]) == 3
    assert not output.exists()
