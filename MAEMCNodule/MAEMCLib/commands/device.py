"""``maemc device``: what will be used and why."""

from __future__ import annotations

import json
from argparse import Namespace

from ..machine.installation import check_torch


def device(arguments: Namespace) -> int:
    """The command."""
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
