"""What the scripts share: running checks and ending Slicer with an exit code, waiting, and a CT to score."""

import time
import traceback

import numpy as np
import slicer

PATIENCE_SECONDS = 300
"""The first request starts the scoring process, which imports PyTorch: minutes on a slow disk."""


def run(*checks) -> None:
    """Run the checks one after the other, each in an empty scene; then end Slicer: 0 all passed, 1 one failed.

    A script that raises does not end Slicer by itself, so everything is caught here.
    """
    failed = 0
    for check in checks:
        slicer.mrmlScene.Clear()
        started = time.monotonic()
        try:
            check()
        except BaseException:  # SystemExit as well: the exit code is given below
            traceback.print_exc()
            failed += 1
            print(f"FAILED {check.__name__}", flush=True)
        else:
            print(f"passed {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{len(checks) - failed} of {len(checks)} checks passed", flush=True)
    slicer.util.exit(1 if failed else 0)


def wait(condition, what: str) -> None:
    """Let the application run until condition() holds. Raises TimeoutError, naming what did not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_SECONDS} s")
        slicer.app.processEvents()
        time.sleep(0.01)


def run_events(seconds: float) -> None:
    """Let the application run for a while."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() >= end, "time to pass")


def balls_in_lung(centers_ras, name: str = "Balls in lung"):
    """A CT of 120 mm each way about the origin, voxels of 1.5 mm: in lung, a ball of 14 mm at each point (R, A, S)."""
    axis = np.arange(80) * 1.5 - 59.25
    s, a, r = np.meshgrid(axis, -axis, -axis, indexing="ij")
    hu = np.random.default_rng(1).normal(-850, 25, s.shape)
    for center in centers_ras:
        distance = np.sqrt((r - center[0]) ** 2 + (a - center[1]) ** 2 + (s - center[2]) ** 2)
        hu += 880 / (1 + np.exp(distance - 7))
    ijk_to_ras = np.diag([-1.5, -1.5, 1.5, 1.0])
    ijk_to_ras[:3, 3] = (59.25, 59.25, -59.25)
    volume = slicer.util.addVolumeFromArray(np.round(hu).astype(np.int16), ijk_to_ras, name)
    volume.CreateDefaultDisplayNodes()
    return volume
