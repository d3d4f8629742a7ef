"""Presets, overrides and comparisons of the settings."""

from dataclasses import replace

import pytest
from MAEMCLib.errors import UsageError
from MAEMCTrainingLib.classifiers.presets import finetuning_preset
from MAEMCTrainingLib.engine.configuration import PRESETS, flatten, override, to_json
from MAEMCTrainingLib.jobs.files import differing_keys
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.run import configuration_from_json


def preset(name="default"):
    return pretraining_preset(name, "maemc")


def test_published_values():
    paper = preset("paper")
    assert (paper.epochs, paper.batch, paper.views_per_case) == (100, 64, 40)
    assert paper.optimization.betas == (0.9, 0.95)
    assert (paper.optimization.learning_rate, paper.optimization.schedule) == (1e-2, "constant")
    assert (paper.encoder.width, paper.encoder.depth, paper.encoder.heads, paper.encoder.patch_size) == (
        1024,
        24,
        16,
        50,
    )
    assert (paper.settings.mask_ratio, paper.settings.queue_size, paper.settings.momentum) == (0.5, 700, 0.99)
    schedule = preset("paper-schedule")
    assert (schedule.epochs, schedule.optimization.milestones) == (200, (120, 160))
    fine = finetuning_preset("paper", paper.encoder)
    assert (fine.epochs, fine.patience, fine.optimization.milestones, fine.fusion) == (100, 10, (40, 70), "axial")
    assert fine.augmentation.mode == "none"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_its_job_file(name):
    run = preset(name)
    assert configuration_from_json(to_json(run), type(run.augmentation)) == run
    assert finetuning_preset(name, None).optimization.layer_decay == 1.0
    assert finetuning_preset(name, run.encoder).optimization.layer_decay == (1.0 if name == "tiny" else 0.75)


def test_overrides_reach_every_branch():
    run = override(
        preset(),
        [
            "epochs=6",
            "mask_ratio=0.6",
            "encoder.depth=2",
            "milestones=3,5",
            "schedule=milestones",
            "rotate=false",
            "learning_rate=1e-3",
        ],
    )
    assert (run.epochs, run.settings.mask_ratio, run.encoder.depth) == (6, 0.6, 2)
    assert run.optimization.milestones == (3, 5) and run.optimization.learning_rate == 1e-3
    assert run.augmentation.rotate is False
    assert len(flatten(run)) == len(flatten(preset()))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epoch=6", "Did you mean epochs"),
        ("maskratio=0.5", "mask_ratio"),
        ("qqqqqqqq=1", "The settings are"),
        ("width=64", "encoder.width or decoder.width"),
        ("epochs=six", "whole number"),
        ("epochs=2.5", "whole number"),
        ("epochs=0", "at least 1"),
        ("learning_rate=nan", "finite"),
        ("learning_rate=-1", "above 0"),
        ("rotate=1", "true or false"),
        ("schedule=linear", "one of cosine, constant, milestones"),
        ("schedule=milestones", "needs milestones"),
        ("mask_ratio=1.5", "between 0 and 1"),
        ("epochs", "not KEY=VALUE"),
        ("mode=paper", None),
        ("views_per_case=3", None),
    ],
)
def test_wrong_overrides_say_what_is_wrong(assignment, message):
    if message is None:
        override(preset(), [assignment])
        return
    with pytest.raises(UsageError, match=message):
        override(preset(), [assignment])


def test_the_papers_augmentation_has_forty_views():
    with pytest.raises(UsageError, match="40 views"):
        override(preset("paper"), ["views_per_case=4"])


def test_differing_keys_are_listed_with_both_values():
    one, two = preset(), preset()
    two = replace(two, epochs=3, optimization=replace(two.optimization, learning_rate=0.5))
    lines = differing_keys(to_json(one), to_json(two))
    assert lines == ["epochs (100 there, 3 here)", "optimization.learning_rate (3.75e-05 there, 0.5 here)"]
    assert differing_keys(to_json(one), to_json(one)) == []
