import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.weights.digests import check_digest, digest_of

METADATA = {"name": "ash", "digest": "of another file"}
TENSORS = {"a": np.arange(6, dtype=np.float32), "b": np.zeros((0, 3), np.int8)}


def test_the_digest_depends_on_everything_but_the_order_and_itself():
    digest = digest_of(METADATA, TENSORS)
    assert digest == digest_of({"name": "ash"}, dict(reversed(TENSORS.items())))
    changed = TENSORS["a"].copy()
    changed[3] = np.nextafter(changed[3], np.float32(9))
    others = [
        digest_of({"name": "oak"}, TENSORS),
        digest_of({"names": "ash"}, TENSORS),
        digest_of(METADATA, {"a": TENSORS["a"]}),
        digest_of(METADATA, TENSORS | {"a": changed}),
        digest_of(METADATA, TENSORS | {"a": TENSORS["a"].reshape(2, 3)}),
        digest_of(METADATA, {"a": TENSORS["b"], "b": TENSORS["a"]}),
    ]
    assert len({digest, *others}) == 7


def test_a_wrong_or_missing_digest_is_refused():
    check_digest({**METADATA, "digest": digest_of(METADATA, TENSORS)}, TENSORS, "F")
    for metadata in (METADATA, {"name": "ash"}):
        with pytest.raises(InputError, match=r"^F was altered or damaged after it was"):
            check_digest(metadata, TENSORS, "F")
