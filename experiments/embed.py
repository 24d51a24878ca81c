"""Computes the tokens of all splits, and writes them for other tools.

python -m experiments.embed --config configs/bpp_esc50.py
python -m experiments.embed --config configs/bpp_esc50.py --export npy --output DIR
python -m experiments.embed --config ... --export parquet --what tokens --output DIR

The tokens are kept where training finds them; a pass that was stopped goes on when the
same command is given again. `--what pooled` exports the mean and the class token of
every clip, `--what tokens` whole token maps; as npy, `--config.encoder=tokens:DIR`
reads those again. `unmute_jax/token_export.py` says which files there are.
"""

from __future__ import annotations

from absl import flags

from experiments import cli
from unmute_jax import parallel, token_export
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError
from unmute_jax.training.experiment import embed_all
from unmute_jax.training.materials import prepare

EXPORT = flags.DEFINE_enum(
    "export", None, token_export.FORMS, "Write the tokens as npy or as parquet."
)
WHAT = flags.DEFINE_enum(
    "what", "pooled", token_export.WHAT, "Vectors, or whole token maps."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to export to.")


def main(settings: Experiment) -> None:
    """Embeds, and exports where that is asked for."""
    form = EXPORT.value
    if form:
        cli.required(OUTPUT)
        token_export.check(WHAT.value, form)
    elif OUTPUT.value:
        raise InputError("--output is for exports: say --export npy or parquet")
    materials = prepare(settings)
    mesh = parallel.make_mesh(settings.devices or None)
    splits = [split for split, clips in materials.dataset.splits.items() if clips]
    stores = embed_all(materials, splits, mesh)
    if form:
        folder = cli.required(OUTPUT)
        token_export.export(stores, folder, WHAT.value, form)
        print(f"everything is in {folder}/")


if __name__ == "__main__":
    cli.launch(main, __doc__)
