"""The module's own self-test (what "Reload and Test" runs), and what it tells Slicer about itself.

Slicer --no-splash --no-main-window --python-script scripted_tests/test_self_test.py
"""

from pathlib import Path

import session
import slicer


def module_tells_about_itself() -> None:
    module = slicer.modules.maemcnodule
    assert module.title
    assert "not for clinical use" in module.helpText
    assert not module.icon.isNull()
    assert (Path(module.path).parent / "Resources" / "UI" / "MAEMCNodule.ui").is_file()


def self_test_passes() -> None:
    slicer.selfTests["MAEMCNodule"]()


def torch_stays_out_of_slicer() -> None:
    import sys

    assert "torch" not in sys.modules, "PyTorch belongs into the scoring process"


if __name__ == "__main__":
    session.run(module_tells_about_itself, self_test_passes, torch_stays_out_of_slicer)
