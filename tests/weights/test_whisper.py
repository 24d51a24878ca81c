"""The checkpoints of Whisper at full size, in all layouts."""

import json

import numpy as np
import pytest

from tests import golden
from tests.weights.manifests import check_sizes, without_memory
from unmute_jax.encoders.whisper import ORIGIN
from unmute_jax.errors import InputError
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.loading import from_file
from unmute_jax.weights.whisper import (
    PUBLISHED_SIZES,
    WhisperCheckpoints,
    position_table,
)

CHECKPOINTS = WhisperCheckpoints()
MANIFESTS = sorted(golden.MORE_ENCODERS.glob("whisper_manifest_*.json"))


def contents(about):
    """The content of a file of each layout, without memory."""
    dims = about["openai_dims"]
    openai = without_memory(about["openai_model_state_dict"])
    yield "OpenAI", {"dims": dims, "model_state_dict": openai}
    config = {"encoder_attention_heads": dims["n_audio_head"]}
    hub = without_memory(about["huggingface"])
    yield "Hugging Face", {"model": hub, "config": config}
    if "ctranslate2_encoder" in about:
        variables = without_memory(about["ctranslate2_encoder"])
        config = {"num_heads": dims["n_audio_head"]}
        yield "CTranslate2", {"model": variables, "config": config}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_full_size_layouts_fit_with_nothing_left(path):
    about = json.loads(path.read_text())
    dims = about["openai_dims"]
    for layout, content in contents(about):
        found = CHECKPOINTS.find_tensors(content, path.name)
        assert found.layout.startswith(layout)
        sizes = check_sizes(CHECKPOINTS, found)
        assert (sizes.width, sizes.depth) == (
            dims["n_audio_state"],
            dims["n_audio_layer"],
        )
        assert (sizes.mels, sizes.positions) == (dims["n_mels"], dims["n_audio_ctx"])
        heads = CHECKPOINTS.choose_heads(found, sizes, None)
        name, published = PUBLISHED_SIZES[sizes.width, sizes.depth]
        assert heads == published == dims["n_audio_head"]
        assert name in path.stem
        known = "decoder", "model.decoder", "encoder/num_heads", "num_heads", "dims"
        assert all(n.startswith((*known, "config", "proj_out")) for n in found.ignored)


def test_files_of_the_encoder_alone_have_shorter_names():
    file = read_weights(golden.MORE_ENCODERS / "whisper_tiny_hf.safetensors")
    tensors = {
        name.removeprefix("model.encoder."): tensor
        for name, tensor in file.content["model"].items()
        if name.startswith("model.encoder.")
    }
    config = file.content["config"]
    whole = CHECKPOINTS.find_tensors(file.content, "whole")
    for prefix in ("", "encoder."):
        content = {
            "model": {f"{prefix}{n}": t for n, t in tensors.items()},
            "config": config,
        }
        found = CHECKPOINTS.find_tensors(content, "part")
        assert found.tensors.keys() == whole.tensors.keys()
        check_sizes(CHECKPOINTS, found)


def test_a_key_with_a_bias_is_another_network():
    file = read_weights(golden.MORE_ENCODERS / "whisper_tiny_ct2.bin")
    name = "encoder/layer_0/self_attention/linear_0/bias"
    bias = file.content["model"][name].copy()
    bias[len(bias) // 3] = 1
    file.content["model"][name] = bias
    with pytest.raises(InputError, match="have a bias"):
        from_file(ORIGIN, file)


def test_the_untrained_positions_are_the_sinusoids_of_the_reference():
    table = position_table(1500, 512)
    t, k = 1499, 255
    rate = 10000 ** (-k / 255)
    np.testing.assert_allclose(table[t, k], np.sin(t * rate), atol=1e-6)
    np.testing.assert_allclose(table[t, 256], np.cos(t), atol=1e-6)
    drawn = CHECKPOINTS.untrained(CHECKPOINTS.base_sizes(16, 1, 2), seed=0)
    np.testing.assert_array_equal(
        drawn["positional_embedding"], position_table(1500, 16)
    )
