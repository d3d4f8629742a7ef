"""Score a manifest in Slicer's Python: the same code, results and exit codes as ``maemc batch``.

    Slicer --no-splash --no-main-window --python-script maemc_batch.py MANIFEST --output results.csv

Slicer's own process stays free of torch: the work is done by ``python -m MAEMCLib batch`` in a process of its own.
"""

import subprocess
import sys
from pathlib import Path

MODULE_FOLDER = Path(__file__).resolve().parent.parent


def main(arguments: list) -> int:
    """Run ``maemc batch`` with these arguments; returns its exit code, 1 where it could not be started."""
    if str(MODULE_FOLDER) not in sys.path:
        sys.path.insert(0, str(MODULE_FOLDER))
    from MAEMCLib.errors import MAEMCError
    from MAEMCLib.machine.child_processes import library_environment
    from MAEMCNodulePanel.interpreter import slicerPython

    try:
        command = [slicerPython(), "-m", "MAEMCLib", "batch", *arguments]
        return subprocess.run(command, env=library_environment(), check=False).returncode
    except (MAEMCError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
