"""The baseline of the paper on FSD50K: EAT, one affine map of its class token.

    python -m experiments.train --config configs/linear_fsd50k.py \
        --config.data_dir=FOLDER

Paper (arXiv 2509.24901, Table 2, mAP): linear 36.39 for EAT pre-trained on AudioSet,
protobin 55.64.
"""

from configs._base import paper_setting


def get_config():
    """EAT, FSD50K, linear."""
    return paper_setting("fsd50k", "linear")
