"""The encoder against timm, lightly and slow computations."""

import math

import numpy as np
import pytest
import timm
import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from MAEMCLib.inputs.nodule import to_montage
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.networks.masking import masked_count, split_tokens
from MAEMCLib.networks.vit import ViT, patchify, position_code

SMALL = EncoderConfiguration(width=64, depth=3, heads=4)
GRID = EncoderConfiguration(patch_size=25, width=64, depth=3, heads=4, position="2d")


def timm_oracle(configuration: EncoderConfiguration, classes: int = 0) -> timm.models.VisionTransformer:
    torch.manual_seed(5)
    oracle = timm.models.VisionTransformer(
        img_size=configuration.image_size,
        patch_size=configuration.patch_size,
        in_chans=1,
        num_classes=classes,
        embed_dim=configuration.width,
        depth=configuration.depth,
        num_heads=configuration.heads,
        mlp_ratio=configuration.mlp_ratio,
        qkv_bias=True,
        global_pool="token",
    ).eval()
    with torch.no_grad():
        for parameter in oracle.parameters():  # biases and norms too, which timm starts at 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.02)
        oracle.pos_embed.copy_(position_code(configuration, configuration.width))
    return oracle


def own_weights(oracle: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in oracle.state_dict().items() if name != "pos_embed"}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 1, 250, 250, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("configuration", [SMALL, GRID])
def test_forward_equals_timm(configuration, images):
    oracle = timm_oracle(configuration)
    vit = ViT(configuration)
    assert vit.norm.eps == oracle.norm.eps == 1e-6
    vit.load_state_dict(own_weights(oracle))  # strict: every name and shape has to match
    with torch.no_grad():
        expected = oracle.forward_features(images)
        torch.testing.assert_close(vit(images), expected, rtol=1e-4, atol=1e-5)


def test_classifier_equals_timm(images):
    oracle = timm_oracle(SMALL, classes=2)
    weights = own_weights(oracle)
    classifier = LinearHead(SMALL)
    classifier.head.load_state_dict({name: weights.pop(f"head.{name}") for name in ("weight", "bias")})
    classifier.encoder.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(images), oracle(images), rtol=1e-4, atol=1e-5)


def test_classifier_reads_the_class_token_of_all_patches(images):
    classifier = LinearHead(SMALL, classes=3)
    token = classifier.encoder(images)[:, 0]
    expected = token @ classifier.head.weight.T + classifier.head.bias
    torch.testing.assert_close(classifier.logits(images), expected)
    assert classifier.logits(images).shape == (3, 3)


@pytest.mark.parametrize("configuration", [SMALL, GRID])
def test_masked_forward_equals_gathering_after_the_embedding(configuration, images):
    vit = ViT(configuration, seed=1)
    keep, _ = split_tokens(torch.rand(3, configuration.tokens), masked_count(configuration.tokens, 0.5))
    with torch.no_grad():
        embedded = vit.embed(images)[0]
        subset = torch.stack([torch.cat([embedded[b, :1], embedded[b, 1:][keep[b]]]) for b in range(3)])
        for block in vit.blocks:
            subset = block(subset)
        torch.testing.assert_close(vit(images, keep), vit.norm(subset), rtol=1e-5, atol=1e-5)


def test_masked_forward_equals_lightly(images):
    oracle = timm_oracle(SMALL)
    lightly = MaskedVisionTransformerTIMM(oracle, weight_initialization="skip", pos_embed_initialization="skip")
    vit = ViT(SMALL)
    vit.load_state_dict(own_weights(oracle))
    keep, _ = split_tokens(torch.rand(3, 25), 13)
    with_class_token = torch.cat([torch.zeros(3, 1, dtype=torch.long), keep + 1], dim=1)
    with torch.no_grad():
        expected = lightly.encode(images, idx_keep=with_class_token)
        torch.testing.assert_close(vit(images, keep), expected, rtol=1e-4, atol=1e-5)


def test_hidden_patches_cannot_be_seen(images):
    vit = ViT(SMALL)
    keep, hidden = split_tokens(torch.rand(3, 25), 13)
    changed = images.clone()
    for sample in range(3):
        for token in hidden[sample].tolist():
            row, column = divmod(token, 5)
            changed[sample, 0, 50 * row : 50 * row + 50, 50 * column : 50 * column + 50] = 9.0
    with torch.no_grad():
        assert torch.equal(vit(images, keep), vit(changed, keep))
        assert not torch.equal(vit(images), vit(changed))


def test_gradient_reaches_every_parameter(images):
    vit = ViT(SMALL)
    keep, _ = split_tokens(torch.rand(3, 25), 13)
    (vit(images, keep) * torch.randn(3, 13, 64)).sum().backward()
    for name, parameter in vit.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("configuration", [SMALL, GRID])
def test_attention_reproduces_the_blocks_and_leaves_forward_alone(configuration, images):
    vit = ViT(configuration, seed=2)
    with torch.no_grad():
        before = vit(images)
        weights = vit.attention(images)
        assert torch.equal(vit(images), before)
        tokens = vit.embed(images)[0]
        for block, weight in zip(vit.blocks, weights, strict=True):
            assert weight.shape == (3, 4, configuration.tokens + 1, configuration.tokens + 1)
            torch.testing.assert_close(weight.sum(-1), torch.ones(weight.shape[:-1]))
            _, _, value = block.attn.split(block.norm1(tokens))
            mixed = (weight @ value).transpose(1, 2).reshape(tokens.shape)
            by_weights = tokens + block.attn.proj(mixed)
            by_weights = by_weights + block.mlp(block.norm2(by_weights))
            tokens = block(tokens)
            torch.testing.assert_close(by_weights, tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [64, 512])
def test_position_code_is_equations_1_and_2(width):
    code = position_code(SMALL, width)
    assert code.shape == (1, 26, width)
    for token in range(26):  # the class token is token 0
        for i in range(width // 2):
            angle = token / math.pow(10000.0, 2 * i / width)
            assert code[0, token, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert code[0, token, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_grid_position_code_has_a_row_half_and_a_column_half():
    code = position_code(GRID, 64)[0]
    assert torch.equal(code[0], torch.zeros(64))
    for token in range(100):
        for half, place in enumerate(divmod(token, 10)):
            for i in range(16):
                angle = place / math.pow(10000.0, 2 * i / 32)
                assert code[1 + token, 32 * half + 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
                assert code[1 + token, 32 * half + 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert len({tuple(row) for row in code.tolist()}) == 101


@pytest.mark.parametrize("patch_size", [50, 25, 10])
def test_slice_position_code_has_slice_row_and_column(patch_size):
    configuration = EncoderConfiguration(patch_size=patch_size, width=64, depth=1, heads=4, position="3d")
    code = position_code(configuration, 64)[0]
    assert torch.equal(code[0], torch.zeros(64))
    # Where each token lies, found from pixels: a montage whose slices are filled with their own number.
    stack = np.broadcast_to(np.arange(25, dtype=np.float32)[:, None, None], (25, 50, 50))
    numbers = patchify(torch.from_numpy(to_montage(stack).copy())[None, None], patch_size)[0]
    assert torch.equal(numbers.amin(1), numbers.amax(1))
    for token in range(configuration.tokens):
        row, column = divmod(token, configuration.grid)
        inside = 50 // patch_size
        places = [(int(numbers[token, 0]), 32), (row % inside, 16), (column % inside, 16)]
        expected = []
        for place, share in places:
            for i in range(share // 2):
                angle = place / math.pow(10000.0, 2 * i / share)
                expected += [math.sin(angle), math.cos(angle)]
        torch.testing.assert_close(code[1 + token], torch.tensor(expected), rtol=0, atol=1e-6)


def test_initial_values_follow_the_seed_alone():
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    first = LinearHead(SMALL, seed=7).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(321)
    again, other = LinearHead(SMALL, seed=7).state_dict(), LinearHead(SMALL, seed=8).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        if name.endswith("weight") and "norm" not in name:
            assert not torch.equal(tensor, other[name])
    limit = math.sqrt(6 / (64 + 2500))
    embedding = first["encoder.patch_embed.proj.weight"]
    assert 0.99 * limit < embedding.abs().max() <= limit  # drawn as the linear map 2500 -> 64


def test_a_new_classifier_is_undecided(images):
    with torch.no_grad():
        probabilities = LinearHead(SMALL, seed=1).logits(images).softmax(dim=1)
    assert (probabilities - 0.5).abs().max() < 0.25
    assert probabilities.std() > 0  # but not blind


def test_meta_network_is_complete_after_assigning_weights(images):
    source = LinearHead(SMALL, seed=3)
    with torch.device("meta"):
        classifier = LinearHead(SMALL)
    classifier.load_state_dict(source.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(classifier.logits(images), source.logits(images))


def test_position_code_is_not_stored():
    assert not any("pos_embed" in name for name in LinearHead(SMALL).state_dict())
