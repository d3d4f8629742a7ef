"""What fine-tuning can start from beside a pre-training job: a model bundle, and ImageNet's weights from a file."""

import json

import pytest
import timm
import torch
from MAEMCLib.errors import InputError, ModelError, UsageError
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, EncoderConfiguration
from MAEMCLib.networks.vit import build_encoder
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.classifiers.starting_point import from_bundle, from_imagenet, starting_point
from safetensors.torch import save_file

SMALL = ["--preset", "tiny", "--device", "cpu", "--threads", "1", "--quiet"]
NETWORK = ["encoder.width=16", "encoder.depth=1", "encoder.heads=2"]


def weights_of(backbone, path, seed=5):
    """A file as timm's are: the whole network, three colors, a thousand classes. Its values are drawn."""
    torch.manual_seed(seed)
    network = timm.create_model(BACKBONES[backbone].timm_name, pretrained=False).eval()
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return network


@pytest.mark.parametrize("backbone", ["resnet18", "convnextv2-atto", "pvt-v2"])
def test_imagenets_weights_see_a_gray_picture_as_three_equal_colors(backbone, tmp_path):
    network = weights_of(backbone, tmp_path / "w.safetensors")
    start = from_imagenet(BackboneConfiguration(backbone, 64), tmp_path / "w.safetensors")
    encoder = build_encoder(start.encoder)
    encoder.load_state_dict(start.state)
    gray = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(gray.repeat(1, 3, 1, 1)), pre_logits=True)
        torch.testing.assert_close(encoder.eval().features(gray), expected, rtol=1e-4, atol=1e-5)
    assert start.kind is None and start.pretraining is None


@pytest.mark.parametrize(("backbone", "side"), [("swin", 256), ("deit", 240), ("levit", 224)])
def test_weights_for_224_pixels_fit_the_nearest_side(backbone, side, tmp_path):
    weights_of(backbone, tmp_path / "w.safetensors")
    start = from_imagenet(BackboneConfiguration(backbone, side), tmp_path / "w.safetensors")
    encoder = build_encoder(start.encoder)
    encoder.load_state_dict(start.state)
    assert encoder.eval().features(torch.zeros(1, 1, side, side)).isfinite().all()


def test_what_is_no_file_of_weights_says_which_one_to_bring(tmp_path):
    resnet, where = BackboneConfiguration("resnet18", 64), "https://huggingface.co/timm/resnet18.a1_in1k"
    with pytest.raises(UsageError, match=f"needs a file: bring .*{where}.*Nothing is fetched"):
        from_imagenet(resnet, None)
    with pytest.raises(ModelError, match=f"no file .*gone.*{where}"):
        from_imagenet(resnet, tmp_path / "gone.safetensors")
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "pickled.safetensors")
    with pytest.raises(ModelError, match=f"no safetensors file.*{where}"):
        from_imagenet(resnet, tmp_path / "pickled.safetensors")
    weights_of("convnextv2-atto", tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=f"does not hold the weights of timm's resnet18.*{where}"):
        from_imagenet(resnet, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="published first layer"):
        from_imagenet(BackboneConfiguration("resnet18", 64, "small"), tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="--backbone resnet18"):
        from_imagenet(EncoderConfiguration(), tmp_path / "other.safetensors")


def test_a_probe_of_imagenet_from_the_command_line(ball_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    weights_of("resnet18", tmp_path / "w.safetensors")
    words = ["finetune", "--data", str(ball_cache.folder), "--folds", "2", *SMALL, "validation_fraction=0.2"]
    probe = ["--from", "imagenet", "--linear-probe", "--backbone", "resnet18", "encoder.image_size=96"]
    assert main([*words, *probe, "--output", str(tmp_path / "job")]) == 2
    assert "needs a file" in capsys.readouterr().err and not (tmp_path / "job").exists()
    assert main([*words, *probe, "--output", str(tmp_path / "job"), "--weights", str(tmp_path / "w.safetensors")]) == 0
    report = json.loads((tmp_path / "job" / "metrics.json").read_text())
    assert report["pretraining"] == "given" and not report["leaky"] and report["training"]["from"] == "ImageNet"
    (tmp_path / "card.toml").write_text('id = "i"\nversion = "1"\ntitle = "I"\nintended_use = "A test."\n')
    export = ["export", str(tmp_path / "job"), "--output", str(tmp_path / "i.maemc"), "--card"]
    assert main([*export, str(tmp_path / "card.toml")]) == 0
    assert "ImageNet" in ModelBundle.open(tmp_path / "i.maemc").card.values["training"]["summary"]
    stray = ["--from", "scratch", "--weights", str(tmp_path / "w.safetensors"), "--output", str(tmp_path / "stray")]
    assert main([*words, *stray]) == 2
    assert "of --from imagenet" in capsys.readouterr().err


def test_a_model_is_tuned_further_and_keeps_its_decoder(ball_cache, tmp_path, monkeypatch, capsys):
    """Pre-train, probe, export; then fine-tune from the model, and export that, from the command line alone."""
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path / "home"))
    (tmp_path / "card.toml").write_text('id = "m"\nversion = "1"\ntitle = "M"\nintended_use = "A test."\n')
    data, card = ["--data", str(ball_cache.folder), *SMALL], ["--card", str(tmp_path / "card.toml")]
    pre, model, probe, again = (str(tmp_path / name) for name in ("pre", "m.maemc", "probe", "again"))
    epochs = ["epochs=1", "views_per_case=1", "queue_size=16", "projection_width=8", "decoder.width=16"]
    small = ["decoder.depth=1", "decoder.heads=2", "preview_epochs=0"]
    assert main(["pretrain", *data, "--output", pre, *NETWORK, *epochs, *small]) == 0
    tune = ["finetune", *data, "--folds", "2", "validation_fraction=0.2", "--linear-probe"]
    assert main([*tune, "--from", pre, "--protocol", "paper", "--output", probe]) == 0
    assert main(["export", probe, "--output", model, *card]) == 0
    assert main([*tune, "--from", model, "--output", again]) == 0
    start, first = from_bundle(tmp_path / "m.maemc"), ModelBundle.open(model).weights("classifier")[0]
    assert all(torch.equal(first[f"encoder.{name}"].float(), tensor) for name, tensor in start.state.items())
    assert len(first) == len(start.state) + 2  # and the linear layer
    report = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert report["pretraining"] == "unknown" and not report["leaky"]
    assert any("does not say which patients" in note for note in report["notes"])
    assert "does not say which patients" in (tmp_path / "again" / "report.html").read_text()
    assert main(["export", again, "--output", str(tmp_path / "n.maemc"), *card]) == 0
    second = ModelBundle.open(tmp_path / "n.maemc")
    old, new = (bundle.weights("decoder")[0] for bundle in (ModelBundle.open(model), second))
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)
    assert "Started from the model m 1" in second.card.values["training"]["summary"]
    assert str(tmp_path) not in json.dumps(second.card.values)
    capsys.readouterr()
    assert main([*tune, "--from", model, "--backbone", "resnet18", "--output", str(tmp_path / "x")]) == 2
    assert "The encoder comes from m 1" in capsys.readouterr().err
    assert main([*tune, "--from", model, "encoder.depth=2", "--output", str(tmp_path / "x")]) == 2
    assert "come from m 1 and cannot be changed" in capsys.readouterr().err
    (tmp_path / "n.maemc").replace(model)  # another model under the name
    assert main(["export", again, "--output", str(tmp_path / "o.maemc"), *card]) == 0  # it has kept what it needs
    assert ModelBundle.open(tmp_path / "o.maemc").card.values["training"] == second.card.values["training"]


def test_an_installed_model_goes_by_its_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lidc-rating").mkdir()  # a folder of the name is not taken for it
    start = starting_point("lidc-rating")
    assert start.name.startswith("lidc-rating ") and start.source.endswith("lidc-rating.maemc")
    with pytest.raises(ModelError, match=r"no model 'lidc-rating@0\.0'"):
        starting_point("lidc-rating@0.0")


def test_words_that_name_nothing(tmp_path):
    assert starting_point("scratch") is None and starting_point("imagenet") is None
    with pytest.raises(ModelError, match="no model at"):
        starting_point(str(tmp_path / "gone.maemc"))
    with pytest.raises(InputError, match="no job folder"):
        starting_point(str(tmp_path / "gone"))
