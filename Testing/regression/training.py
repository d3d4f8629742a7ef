"""``python -m Testing.regression.training REVISION [--at REVISION2] [--only NAME]``: do two revisions train the same?

REVISION and this working tree (or REVISION2) train the same inputs. The newer one also trains each of them a second
time, is stopped with SIGTERM in the middle, and goes on when the command is repeated. One line for each training: the
same, or the first of the values that differ. Names that only the newer revision's JSON and tables have are counted and
are no difference. Exit code 1 on any difference, 2 where the trees cannot be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .inputs import make_inputs
from .renamed import is_gained, newer_name
from .trainings import TRAININGS, Training
from .tree import CommandFailed, Tree
from .values import Value, difference, is_tensor, values_of

_REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """Compare, print, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the older one, as git names it")
    parser.add_argument("--at", metavar="REVISION2", help="the newer one, instead of this working tree")
    parser.add_argument("--only", action="append", choices=[training.name for training in TRAININGS])
    options = parser.parse_args()
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-training-")))
        try:
            sources = [stack.enter_context(_checked_out(options.revision, folder / "source-older")), _REPOSITORY]
            if options.at:
                sources[1] = stack.enter_context(_checked_out(options.at, folder / "source-newer"))
            same = _compare(folder, sources, options.only, stack)
        except (CommandFailed, subprocess.CalledProcessError) as error:
            print(getattr(error, "stderr", None) or error, file=sys.stderr)
            return 2
    print(f"{'All the same' if same else 'There are differences'}; {time.monotonic() - begun:.0f} s.")
    return 0 if same else 1


@contextlib.contextmanager
def _checked_out(revision: str, place: Path) -> Iterator[Path]:
    """A worktree of the revision, removed at the end."""
    git = ["git", "-C", str(_REPOSITORY), "worktree"]
    subprocess.run(
        [*git, "add", "--quiet", "--detach", str(place), revision], check=True, stderr=subprocess.PIPE, text=True
    )
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def _compare(folder: Path, sources: list[Path], only: list[str] | None, stack: contextlib.ExitStack) -> bool:
    """Train everything in both trees; True where all is the same."""
    inputs, home = folder / "inputs", folder / "home"
    older = _tree(sources[0], folder / "older", home, stack)
    make_inputs(inputs, older)
    # Pseudonyms decide on folds: both trees have the key that the first command made.
    shutil.copytree(home, folder / "home-newer")
    newer = _tree(sources[1], folder / "newer", folder / "home-newer", stack)
    wanted = _with_their_starts(only) if only else TRAININGS
    same = True
    for training in wanted:
        begun = time.monotonic()
        alike, said = _compared(training, inputs, older, newer)
        same = same and alike
        print(f"{training.name:18}{time.monotonic() - begun:4.0f} s  {said}", flush=True)
        if not any(training.name in other.options for other in wanted):  # else the start of another
            for job in (older.folder / training.name, newer.folder / training.name):
                shutil.rmtree(job, ignore_errors=True)
    return same


def _tree(source: Path, folder: Path, home: Path, stack: contextlib.ExitStack) -> Tree:
    tree = Tree(source, folder, home)
    stack.callback(tree.close)
    print(f"{folder.name}: {', '.join(tree.imported.values())}", flush=True)
    return tree


def _with_their_starts(names: list[str]) -> tuple[Training, ...]:
    chosen = [training for training in TRAININGS if training.name in names]
    needed = {option for training in chosen for option in training.options}
    return tuple(training for training in TRAININGS if training in chosen or training.name in needed)


def _compared(training: Training, inputs: Path, older: Tree, newer: Tree) -> tuple[bool, str]:
    """Train in both trees; whether all is the same, and a line that says so or in what they differ."""
    resumed = f"{training.name}-resumed"
    try:
        for tree in (older, newer):
            tree.run(*training.arguments(inputs, training.name))
            _export(training, tree, training.name)
        _stop_and_resume(training, inputs, newer, resumed)
    except CommandFailed as error:
        return False, f"FAILED: {error}"
    first, second, third = (
        dict(values_of(place))
        for place in (older.folder / training.name, newer.folder / training.name, newer.folder / resumed)
    )
    shutil.rmtree(newer.folder / resumed)
    first = {newer_name(name): value for name, value in first.items()}
    tensors = sum(map(is_tensor, first.values()))
    counts = f"{tensors} tensors, {len(first) - tensors} other values"
    new = [name for name in second if name not in first and not is_tensor(second[name])]
    if new:
        counts += f"; {len(new)} new ones, such as {new[0]}"
    differences = _differences("DIFFERS", first, second) + _differences("RESUMED DIFFERS", second, third)
    return not differences, "; ".join(differences or ["same"]) + f" ({counts})"


def _export(training: Training, tree: Tree, job: str) -> None:
    """Write the bundle into the job's folder, and its report a second time from what the folds left."""
    if training.exported:
        bundle = f"{job}/exported.maemc"
        tree.run("export", job, "--output", bundle, "--id", "regression", "--title", "Regression", "--quiet")
        tree.run("evaluate", job, "--quiet")


def _stop_and_resume(training: Training, inputs: Path, tree: Tree, job: str) -> None:
    """Train again, stopped after half of the events of the undisturbed job."""
    events = (tree.folder / training.name / "events.jsonl").read_bytes().count(b"\n")
    tree.run_until(job, max(1, events // 2), *training.arguments(inputs, job))
    tree.run(*training.arguments(inputs, job))
    _export(training, tree, job)


def _differences(word: str, first: dict[str, Value], second: dict[str, Value]) -> list[str]:
    """One line on the values in which the second differs from the first; none where it does not."""
    found = [
        f"{name}: {difference(value, second[name]) if name in second else 'missing'}"
        for name, value in first.items()
        if (name not in second and not _became_a_record(name, value, second))
        or (name in second and difference(value, second[name]))
    ]
    found += [f"{n}: new" for n, v in second.items() if n not in first and is_tensor(v) and not is_gained(n)]
    return [f"{word} in {len(found)} values, the first {found[0]}"] if found else []


def _became_a_record(name: str, value: Value, second: dict[str, Value]) -> bool:
    """Whether there was nothing where the second has several values."""
    return value is None and any(other.startswith(f"{name}.") for other in second)


if __name__ == "__main__":
    sys.exit(main())
