"""The commands ``maemc-train jobs ...``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from MAEMCLib.model_store import home

from . import add_command


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    jobs = commands.add_parser("jobs", help="list and show jobs")
    actions = jobs.add_subparsers(required=True, metavar="ACTION")
    add_command(actions, "list", _jobs_list, "the jobs started here, also those of closed terminals")
    command = add_command(actions, "show", _jobs_show, "where one job stands")
    command.add_argument("job", type=Path, metavar="JOB")


def _jobs_list(options: argparse.Namespace) -> None:
    from ..jobs import known_jobs, read_state

    jobs = known_jobs(home())
    if not jobs and not options.quiet:
        print("No jobs yet. maemc-train pretrain starts one.", file=sys.stderr)
    for job in jobs:
        state = read_state(job.folder)
        print(f"{job.status:<9} {job.settings['kind']:<9} {_share(state):>6}  {state.get('updated', '')}  {job.folder}")


def _jobs_show(options: argparse.Namespace) -> None:
    from ..jobs import Job, read_state

    job = Job(options.job)
    settings, state = job.settings, read_state(options.job)
    print(
        f"{job.folder}: {settings['kind']}, {job.status}, {_share(state)} of the steps, updated {state.get('updated')}"
    )
    if state.get("message"):
        print(state["message"])
    print(settings.get("command", ""))


def _share(state: dict[str, Any]) -> str:
    if not state.get("steps"):
        return "-"
    done = (state.get("fold", 0) + state["step"] / state["steps"]) / state.get("folds", 1)
    return f"{100 * (1.0 if state.get('status') == 'finished' else done):.0f} %"
