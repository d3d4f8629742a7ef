"""The decoder against a slow computation that fills the places one by one."""

import pytest
import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.masking import masked_count, split_tokens
from MAEMCLib.networks.vit import Decoder

DECODER = DecoderConfiguration(width=32, depth=2, heads=4)


@pytest.mark.parametrize(
    "encoder",
    [
        EncoderConfiguration(width=64, depth=1, heads=4),
        EncoderConfiguration(patch_size=25, width=64, depth=1, heads=4, position="2d"),
    ],
)
def test_decoder_equals_filling_places_one_by_one(encoder):
    decoder = Decoder(encoder, DECODER, seed=4)
    keep, _ = split_tokens(torch.rand(3, encoder.tokens), masked_count(encoder.tokens, 0.5))
    tokens = torch.randn(3, 1 + keep.shape[1], 64)
    with torch.no_grad():
        prediction = decoder(tokens, keep)
        assert prediction.shape == (3, encoder.tokens, encoder.patch_pixels)
        for sample in range(3):
            places = [decoder.mask_token[0, 0]] * encoder.tokens
            for rank, token in enumerate(keep[sample].tolist()):
                places[token] = decoder.embed(tokens[sample, 1 + rank])
            line = torch.stack([decoder.embed(tokens[sample, 0]), *places]) + decoder.pos_embed[0]
            line = line.unsqueeze(0)
            for block in decoder.blocks:
                line = block(line)
            expected = decoder.predict(decoder.norm(line))[0, 1:]
            torch.testing.assert_close(prediction[sample], expected, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_every_parameter_and_the_tokens():
    encoder = EncoderConfiguration(width=64, depth=1, heads=4)
    decoder = Decoder(encoder, DECODER)
    keep, _ = split_tokens(torch.rand(2, 25), 13)
    tokens = torch.randn(2, 13, 64, requires_grad=True)
    (decoder(tokens, keep) * torch.randn(2, 25, 2500)).sum().backward()
    assert (tokens.grad.abs().sum(dim=-1) > 0).all()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
