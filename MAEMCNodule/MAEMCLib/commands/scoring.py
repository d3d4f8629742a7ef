"""What each ``maemc`` command does, apart from reading its arguments."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import Namespace
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..cases.case import Case
from ..cases.points import NodulePoint, check_names, parse_point, read_points
from ..cases.values import SERIES, parse_assignments, read_values
from ..errors import InputError, ModelError, UsageError
from ..fingerprint import input_sha256
from ..images.content import content_sha256
from ..images.ct import CTVolume
from ..images.files import write_volume
from ..images.reading_process import ReadingProcess
from ..inputs.region import NoduleROI, cut_roi
from ..machine.installation import check_torch
from ..machine.terminal import visible
from ..models.bundle import ModelBundle
from ..models.card import ModelCard
from ..models.store import find_model
from ..results import NoduleResult
from . import pictures as picture_commands

FAILED = 3
"""Exit code where some input could not be scored."""
_LONGEST_FOLDER_NAME = 60


def score(arguments: Namespace) -> int:
    """``maemc score``: a table or a JSON document, and with --output files and pictures."""
    from ..report.scores import results_table
    from ..report.tables import results_document, write_results
    from ..scoring import failed, score_points

    folder = _output_folder(arguments.output)
    bundle = ModelBundle.open(find_model(arguments.model))
    if bundle.card.input == "picture":
        return _failures([picture_commands.score(arguments, bundle, folder)])
    points = _points(arguments)
    clinical = _clinical(arguments, bundle.card)
    predictor, reason = None, ""
    with ReadingProcess() as reader:
        try:
            volume = reader.read(arguments.image, arguments.series, arguments.nifti_form)
            named = {point.lps: _fingerprint(arguments, bundle.card, point.lps, clinical) for point in points}
        except InputError as error:
            reason, named = str(error), {}
            rows = [(failed(point.nodule_id, point.lps, error, bundle.card), None) for point in points]
        else:
            for remark in volume.remarks:
                if remark.where:
                    print(f"{remark.where}: {remark.message}", file=sys.stderr)
            predictor = _predictor(bundle, arguments)
            further = lru_cache(maxsize=1)(lambda path: reader.read(path, None, arguments.nifti_form))
            rows = score_points(volume, points, predictor, None, [clinical] * len(points), further)
    rows = [(replace(result, **named.get(result.point_lps, {})), prepared) for result, prepared in rows]
    results = [result for result, _ in rows]
    device = predictor.device if predictor else None
    if folder is not None:
        write_results(folder, results, bundle.card, device)
        _pictures(folder, rows, bundle.card, predictor, arguments)
    if arguments.json:
        print(json.dumps(results_document(results, bundle.card, device), ensure_ascii=False, allow_nan=False))
    elif not arguments.quiet:
        print(results_table(results, bundle.card))
        if folder is not None:
            print(f"Written to {folder}")
    return _failures(results, reason)


def roi(arguments: Namespace) -> int:
    """``maemc roi``: both stacks as NRRD in patient space, and the montages as the model sees them."""
    from ..inputs.settings import Preprocessing
    from ..report.figures import save_montage

    folder = _output_folder(arguments.output)
    volume = _volume(arguments)
    region = cut_roi(volume, parse_point(arguments.point, arguments.ras))
    for plane in ("axial", "coronal"):
        _write_stack(folder / f"{plane}.nrrd", getattr(region, plane), region, plane)
        save_montage(getattr(region, plane), Preprocessing(), folder / f"montage_{plane}.png")
    if not arguments.quiet:
        print(f"Written to {folder}; {region.padded_fraction:.1%} of the region lies outside the volume.")
    return 0


def explain(arguments: Namespace) -> int:
    """``maemc explain``: reconstruction, error and attention as NRRD, and a figure; of pictures maps as PNG and NPY."""
    from ..explain.reconstruction import explain as explain_region
    from ..report.figures import nodule_figure, save_figure
    from ..scoring import prepare, scored

    folder = _output_folder(arguments.output)
    bundle = ModelBundle.open(find_model(arguments.model))
    if bundle.card.input == "picture":
        return picture_commands.explain(arguments, bundle, folder)
    if not arguments.point:
        raise UsageError("No point was given. Add --point L,P,S, or choose a model of 2-D pictures.")
    if bundle.card.fusion == "graph":
        raise UsageError(
            f"The model {bundle.card.id} fuses images and clinical values, and has no pictures to explain it.",
            "no-decoder",
        )
    volume = _volume(arguments)
    prepared = prepare(volume, "N1", parse_point(arguments.point, arguments.ras), bundle.card)
    predictor = _predictor(bundle, arguments)
    result = scored(prepared, vars(predictor.predict([prepared.roi])[0]), bundle.card)
    explanation = explain_region(predictor, prepared.roi)
    _write_explanation(folder, explanation, prepared.roi)
    figure = nodule_figure(result, prepared.roi, explanation, bundle.card.preprocessing)
    save_figure(figure, folder / "figure.png")
    if not arguments.quiet:
        if explanation.notice:
            print(explanation.notice)
        print(f"Written to {folder}. {explanation.attention_kind}: where the classifier looks.")
    return 0


def batch(arguments: Namespace) -> int:
    """``maemc batch``: a manifest's nodules, or pictures, into one CSV."""
    from ..batch.run import run_batch
    from ..cases.scoring_manifest import read_scoring_manifest

    if arguments.processes < 1:
        raise UsageError("--processes needs a number from 1.")
    check_torch()
    manifest = read_scoring_manifest(arguments.manifest)
    bundle = ModelBundle.open(find_model(arguments.model))
    rows = [_with_paths(row, manifest.path.parent, bundle.card) for row in manifest.rows]
    started = time.monotonic()

    def show(done: int, total: int, wrong: int) -> None:
        left = (time.monotonic() - started) / max(done, 1) * (total - done)
        print(f"\r{done} of {total} cases, {wrong} failed, {left:.0f} s left ", end="", file=sys.stderr, flush=True)

    def say(text: str) -> None:
        print(f"{chr(13) if watch else ''}{text}", file=sys.stderr)

    watch = show if sys.stderr.isatty() and not arguments.quiet else None
    output, options = Path(arguments.output), (arguments.device, arguments.processes)
    good, wrong = run_batch(rows, output, bundle, *options, watch, arguments.nifti_form, say)
    if watch is not None:
        print(file=sys.stderr)
    if not arguments.quiet:
        print(f"{good} scored, {wrong} failed; written to {arguments.output}")
    return FAILED if wrong else 0


def device(arguments: Namespace) -> int:
    """``maemc device``: what will be used and why."""
    check_torch()
    from ..machine.device import describe

    found = describe(arguments.device)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    gpus = "; ".join(f"{g['name']} {g['title']} ({g['problem'] or 'works'})" for g in found["gpus"]) or "none seen"
    print(f"Device            {found['name']} ({found['title']})")
    print(f"Because           {found['reason']}")
    print(f"Tensor operation  {found['tensor_operation']}")
    print(f"PyTorch           {found['torch']}, CUDA {found['cuda_build'] or 'not in this build'}")
    print(f"GPUs              {gpus}")
    print(f"CPU               {found['threads']} threads on {found['cores']} cores")
    return 0


def serve(arguments: Namespace) -> int:
    """``maemc serve``: the worker."""
    from ..worker.server import main

    main()
    return 0


def _volume(arguments: Namespace) -> CTVolume:
    """Read in a child process: a file that makes a native reader crash ends in a message."""
    with ReadingProcess() as reader:
        return reader.read(arguments.image, arguments.series, arguments.nifti_form)


def _fingerprint(arguments: Namespace, card: ModelCard, point_lps, clinical: dict[str, str]) -> dict[str, str]:
    """What a result says of the image and of all that it was computed from."""
    path = Path(arguments.image)
    whole = input_sha256(path, card, point_lps, None, clinical, arguments.series, arguments.nifti_form)
    return {"image": content_sha256(path)[:12], "input_sha256": whole}


def _predictor(bundle: ModelBundle, arguments: Namespace):
    check_torch()
    from ..models.opening import open_predictor

    return open_predictor(bundle, arguments.device)


def _clinical(arguments: Namespace, card: ModelCard) -> dict[str, str]:
    """What was typed of what the model asks for. Raises UsageError before anything slow begins."""
    given = parse_assignments(arguments.clinical or (), card.clinical, card.id)
    read_values(given, card.clinical, card.id)
    return given


def _with_paths(row: Case, folder: Path, card: ModelCard) -> Case:
    """A manifest's row whose further series are named from anywhere, and not relative to the manifest."""
    series = {one.name for one in card.clinical if one.kind == SERIES and row.values.get(one.name)}
    return replace(row, values={**row.values, **{name: str(folder / row.values[name]) for name in series}})


def _points(arguments: Namespace) -> list[NodulePoint]:
    points = [
        NodulePoint(f"N{number}", parse_point(text, arguments.ras))
        for number, text in enumerate(arguments.point or [], start=1)
    ]
    if arguments.points:
        points += read_points(arguments.points, arguments.ras, lambda text: print(text, file=sys.stderr))
    if not points:
        raise UsageError("No point was given. Add --point L,P,S or --points FILE, or choose a model of 2-D pictures.")
    check_names(points)
    return points


def _output_folder(name: str | None) -> Path | None:
    """Make the folder before anything slow begins. Raises InputError where it cannot be made or written."""
    if name is None:
        return None
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".maemc-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"The folder {folder} cannot be written ({reason}). Choose another.") from error
    return folder


def _pictures(folder: Path, rows: list, card: ModelCard, predictor, arguments: Namespace) -> None:
    """A folder of overlays and pictures for each scored nodule, and the report that shows them."""
    from ..explain.reconstruction import explain as explain_region
    from ..explain.reconstruction import load_autoencoder
    from ..report.figures import nodule_figure, save_figure, save_montage
    from ..report.formats import write_report
    from ..report.scores import score_report

    autoencoder = None
    if predictor is not None and card.members("decoder"):
        try:
            autoencoder = load_autoencoder(predictor)
        except ModelError as error:  # the scores stand, and so do the classifier's maps
            print(f"maemc: there is no reconstruction and no error. {error}", file=sys.stderr)
    figures = {}
    taken: set[str] = set()
    for result, prepared in rows:
        if prepared is None:
            continue
        place = folder / _folder_name(result, taken)
        place.mkdir(exist_ok=True)
        explanation = None
        if card.fusion != "graph":
            explanation = explain_region(predictor, prepared.roi, autoencoder)
            _write_explanation(place, explanation, prepared.roi)
        for plane in ("axial", "coronal"):
            save_montage(getattr(prepared.roi, plane), card.preprocessing, place / f"montage_{plane}.png")
        figures[id(result)] = place / "figure.png"
        save_figure(nodule_figure(result, prepared.roi, explanation, card.preprocessing), figures[id(result)])
    shown = [(result, figures.get(id(result))) for result, _ in rows]
    write_report(score_report(shown, card), folder / "report.html")


def _folder_name(result: NoduleResult, taken: set[str]) -> str:
    """The nodule's name as a folder name, unique among ``taken``, to which it is added."""
    plain = re.sub(r"[^\w.-]+", "_", result.nodule_id)[:_LONGEST_FOLDER_NAME].strip("._") or "nodule"
    name, number = plain, 2
    while name.lower() in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name.lower())
    return name


def _write_explanation(folder: Path, explanation, region: NoduleROI) -> None:
    for part, planes in explanation.parts().items():
        for plane, stack in planes.items():
            _write_stack(folder / f"{part}_{plane}.nrrd", stack, region, plane)


def _write_stack(path: Path, stack, region: NoduleROI, plane: str) -> None:
    write_volume(CTVolume(stack, getattr(region, f"{plane}_affine"), path.stem), path)


def _failures(results: list[NoduleResult], reason: str = "") -> int:
    """Exit code; each failed nodule is named on stderr, each reason once. reason: that of all of them, with the names
    of files."""
    wrong: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.status == "failed":
            wrong[reason or result.message].append(visible(result.nodule_id))
    for text, names in wrong.items():
        print(f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not scored: {text}", file=sys.stderr)
    return FAILED if wrong else 0
