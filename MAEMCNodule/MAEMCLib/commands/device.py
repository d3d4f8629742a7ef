"""``maemc device``: what will be used and why."""

import json
from argparse import Namespace

from ..machine.installation import check_torch


def device(arguments: Namespace) -> int:
    """The command."""
    check_torch()
    from ..machine.device import describe

    facts = describe(arguments.device)
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
        return 0
    gpus = "; ".join(f"{g['name']} {g['title']} ({g['problem'] or 'works'})" for g in facts["gpus"]) or "none seen"
    print(f"Device            {facts['name']} ({facts['title']})")
    print(f"Because           {facts['reason']}")
    print(f"Tensor operation  {facts['tensor_operation']}")
    print(f"PyTorch           {facts['torch']}, CUDA {facts['cuda_build'] or 'not in this build'}")
    print(f"GPUs              {gpus}")
    print(f"CPU               {facts['threads']} threads on {facts['cores']} cores")
    return 0
