"""Fills the panel's list of jobs and the part on the selected one."""

import datetime

import qt
from MAEMCNodulePanel.widgets import fillTable, showText
from MAEMCTrainingLib.jobs.progress import duration
from MAEMCTrainingLib.pretraining.registry import METHODS
from slicer.i18n import tr as _

PREVIEW_WIDTH = 376
"""Logical pixels: what a module panel of usual width has room for."""


def fillJobs(ui, jobs, selected) -> None:
    """A row for each job."""
    rows = [
        (job.folder.name, kindText(job.kind), statusText(job.status), f"{int(100 * job.progress)} %", _updated(job))
        for job in jobs
    ]
    folders = [job.folder for job in jobs]
    fillTable(ui.jobsTable, rows, folders.index(selected) if selected in folders else None, 6, 0)
    for row, folder in enumerate(folders):
        ui.jobsTable.item(row, 0).setToolTip(str(folder))


def fillJob(ui, job, details) -> None:
    """Where the selected job stands; nothing where none is selected. details: as far as they have been read."""
    ui.jobFrame.visible = job is not None
    if job is None:
        return
    ui.headlineLabel.text = _("{job}: {status}").format(job=job.folder.name, status=statusText(job.status))
    ui.progressBar.value = round(100 * job.progress)
    ui.progressBar.visible = job.status != "finished"
    showText(ui.progressLabel, progressText(job))
    showText(ui.messageLabel, _message(job))
    showText(ui.metricsLabel, metricsText(details.metrics) if details.metrics else "")
    _showPreview(ui, details)
    showText(ui.noPreviewLabel, noPreviewText(job) if ui.previewLabel.isHidden() else "")


def _message(job) -> str:
    """Why a job has ended without being finished, and what to do."""
    if job.status == "stopped":  # its own message tells of commands to be repeated
        return _("What was done is saved: Resume goes on there.")
    return job.message if job.status == "failed" else ""


def noPreviewText(job) -> str:
    """Why a pre-training shows no pictures; empty where nobody expects any."""
    if job.kind != "pretrain" or job.method not in METHODS:
        return ""
    if not METHODS[job.method].reconstructs:
        text = _("{method} reconstructs no images, so there is no preview; its curve shows how it learns.")
        return text.format(method=METHODS[job.method].title)
    return _("The first preview comes after the first epoch.") if job.active else ""


def kindText(kind: str) -> str:
    """A job's kind for people."""
    texts = {"pretrain": _("pre-training"), "finetune": _("fine-tuning"), "fuse": _("fusion")}
    return texts.get(kind, kind)


def statusText(status: str) -> str:
    """A job's status for people."""
    texts = {
        "queued": _("starting"),
        "running": _("running"),
        "stopped": _("stopped"),
        "failed": _("failed"),
        "finished": _("finished"),
    }
    return texts.get(status, status)


def progressText(job) -> str:
    """ "Training; fold 2 of 5, epoch 3 of 60; 4 min left", as far as it is known."""
    state = job.state
    if job.status == "finished":
        return ""
    parts = [state["stage"]] if job.active and state.get("stage") else []
    if state.get("folds") and state.get("fold") is not None:
        parts.append(_("fold {number} of {all}").format(number=state["fold"] + 1, all=state["folds"]))
    if state.get("epochs") and state.get("epoch") is not None:
        parts.append(_("epoch {number} of {all}").format(number=state["epoch"] + 1, all=state["epochs"]))
    if job.active and state.get("seconds_left") is not None:
        parts.append(_("{time} left").format(time=duration(state["seconds_left"])))
    return ", ".join(parts)


def metricsText(metrics) -> str:
    """The area under the curve with its interval, beside what it has to beat."""
    try:
        auc, baselines = metrics["metrics"]["auc"], metrics.get("baselines", {})
        text = _("AUC {value} ({low} to {high}), out of fold.")
        lines = [text.format(value=_two(auc["value"]), low=_two(auc["low"]), high=_two(auc["high"]))]
        size = baselines.get("size alone", {}).get("auc")
        if size:
            lines.append(_("The nodule's size alone: {value}.").format(value=_two(size["value"])))
        if metrics.get("leaky"):
            lines.append(_("The pre-training saw patients that are evaluated here."))
    except (KeyError, TypeError, AttributeError):
        return ""
    return " ".join([*lines, _("Research only, not for clinical use.")])


def _two(value) -> str:
    return "-" if value is None else f"{value:.2f}"


def _updated(job) -> str:
    try:
        moment = datetime.datetime.fromisoformat(job.state["updated"]).astimezone()
    except (KeyError, TypeError, ValueError):
        return ""
    today = moment.date() == datetime.datetime.now(moment.tzinfo).date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d")


def _showPreview(ui, details) -> None:
    preview = details.preview
    key = f"{details.folder} {preview[0]}" if preview else ""
    if key == (ui.previewLabel.property("shown") or ""):
        return
    ui.previewLabel.setProperty("shown", key)
    ui.previewLabel.visible = preview is not None
    pixmap = qt.QPixmap()
    if preview is not None and pixmap.loadFromData(preview[1]):
        ratio = ui.previewLabel.devicePixelRatioF()
        pixmap = pixmap.scaledToWidth(round(PREVIEW_WIDTH * ratio), qt.Qt.SmoothTransformation)
        pixmap.setDevicePixelRatio(ratio)
    ui.previewLabel.setPixmap(pixmap)
