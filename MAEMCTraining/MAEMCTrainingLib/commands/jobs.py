"""The commands ``maemc-train jobs ...``: what runs here, also after its terminal or Slicer was closed."""

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import home
from MAEMCLib.machine.terminal import visible

from ..jobs.files import EventLog, damaged_notes, read_state
from ..jobs.job import Job, known_jobs, last_output, state_before
from ..jobs.launching import resume
from ..jobs.progress import progress_line
from ..jobs.stopping import request_stop
from . import add_command


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    jobs = commands.add_parser("jobs", help="list, follow, stop and continue jobs")
    actions = jobs.add_subparsers(required=True, metavar="ACTION")
    add_command(actions, "list", _list, "the jobs started here, also those of closed terminals")
    for name, run, summary in (
        ("show", _show, "where one job stands"),
        ("watch", _watch, "follow a job until it ends; Ctrl-C leaves it running"),
        ("stop", _stop, "let a job finish its step, save and stop"),
        ("resume", _resume, "continue a stopped or failed job in the background"),
    ):
        command = add_command(actions, name, run, summary)
        command.add_argument("job", type=Path, metavar="JOB")


def _list(options: argparse.Namespace) -> None:
    jobs, notes = known_jobs(home()), damaged_notes(home())
    if not jobs and not notes and not options.quiet:
        print("No jobs yet. maemc-train pretrain starts one.", file=sys.stderr)
    for job in jobs:
        try:
            updated = read_state(job.folder).get("updated", "")
            line = f"{job.status:<9} {visible(job.settings['kind']):<9} {_share(job):>6}  {updated}  "
        except InputError as error:
            line = f"damaged: {visible(str(error))}  "
        print(line + visible(str(job.folder)))
    for reason in notes.values():
        print(f"damaged: {visible(reason)}")


def _show(options: argparse.Namespace) -> None:
    job = Job(options.job)
    settings, state = job.settings, read_state(options.job)
    print(f"{job.folder}: {settings['kind']}, {job.status}, {_share(job)} done, updated {state.get('updated')}")
    for line in (state.get("stage"), state.get("message")):
        if line:
            print(line)
    if "command" in settings:
        print(shlex.join(["maemc-train", *settings["command"]["arguments"]]))


def _watch(options: argparse.Namespace) -> int:
    job = Job(options.job)
    job.settings  # noqa: B018 - raises where the folder is no job
    log, shown = EventLog(options.job), ""
    live = sys.stdout.isatty()
    while True:
        status = job.status
        log.refresh()
        trained = [event for event in log.events[-50:] if "learning_rate" in event]
        line = progress_line(read_state(options.job), trained[-1] if trained else {})
        if line != shown:
            shown = line
            print(f"\r\x1b[K{line}" if live else line, end="" if live else "\n", flush=True)
        if status not in ("running", "queued"):
            break
        time.sleep(1)
    message = read_state(options.job).get("message") or (last_output(options.job) if status != "finished" else "")
    print(f"{chr(10) if live else ''}{status}{': ' + message if message else ''}")
    return 0 if status == "finished" else 3


def _stop(options: argparse.Namespace) -> None:
    job = Job(options.job)
    job.settings  # noqa: B018 - raises where the folder is no job
    if job.status not in ("running", "queued"):
        raise InputError(f"The job {options.job} is {job.status}: there is nothing to stop.", "not-running")
    request_stop(options.job)
    for _ in range(600):
        if job.status != "running":
            break
        time.sleep(0.1)
    print(job.status if job.status != "running" else "asked to stop; it ends after its step")


def _resume(options: argparse.Namespace) -> None:
    if state_before(options.job) and Job(options.job).status == "finished":
        raise InputError(f"The job {options.job} is finished: there is nothing to continue.", "finished")
    resume(options.job, home())
    print(f"Continuing. maemc-train jobs watch {shlex.quote(str(options.job))} follows it.", file=sys.stderr)
    print(options.job)


def _share(job: Any) -> str:
    return f"{100 * job.progress:.0f} %"
