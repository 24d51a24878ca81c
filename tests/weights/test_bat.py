"""The checkpoints of BAT at full size, in every layout."""

import numpy as np

from tests import golden
from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.encoders.bat import ORIGIN
from unmute_jax.weights.bat import PUBLISHED_SIZES, BatCheckpoints
from unmute_jax.weights.files import read_weights

CHECKPOINTS = BatCheckpoints()


def test_the_full_size_layout_fits_with_nothing_left():
    about = manifest("bat_base")
    tensors = without_memory(about["huggingface"])
    config = {"num_attention_heads": 12}
    found = CHECKPOINTS.find_tensors({"model": tensors, "config": config}, "base")
    sizes = check_sizes(CHECKPOINTS, found)
    assert set(found.ignored) == {"config"}
    count = sum(tensor.size for tensor in found.tensors.values())
    assert count == about["parameter_counts"]["encoder"]
    assert PUBLISHED_SIZES[sizes.width, sizes.depth] == ("base", 12)
    assert CHECKPOINTS.choose_heads(found, sizes, None) == 12


def test_the_student_is_taken_from_files_of_the_training():
    file = read_weights(golden.MORE_ENCODERS / "bat_tiny.safetensors")
    student = dict(file.content["model"])
    teacher = {name: tensor + 1 for name, tensor in student.items()}
    decoder = {"pos_embed": np.zeros((1, 512, 32)), "blocks.0.norm1.bias": np.ones(3)}
    download = {f"student.encoder.{k}": v for k, v in student.items()}
    download |= {f"teacher.encoder.{k}": v for k, v in teacher.items()}
    download |= {f"student.decoder.{k}": v for k, v in decoder.items()}
    trainer = {
        "encoder": student,
        "decoder": decoder,
        "ema_encoder": teacher,
        "optimized_steps": 1,
        "args": {"num_heads": 4},
    }
    for content in (download, {"state_dict": download, "step": 1}, trainer):
        found = CHECKPOINTS.find_tensors(content, "file")
        assert found.tensors.keys() == student.keys()
        for name, tensor in student.items():
            np.testing.assert_array_equal(found.tensors[name], tensor)
        sizes = check_sizes(CHECKPOINTS, found)
    assert CHECKPOINTS.choose_heads(found, sizes, None) == 4
    assert ORIGIN.name == "bat"
