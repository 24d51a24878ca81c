import io

import numpy as np
from matplotlib import image

from tests.store.fakes import fake_encoder
from tests.training.fakes import tones
from unmute_jax.inference import clip_map
from unmute_jax.inference.clip_map import map_section, two_dimensions
from unmute_jax.store.embed import embed


def stores_of(dataset, *splits):
    return [embed(fake_encoder(), dataset, split, log=str) for split in splits]


def test_similar_clips_are_neighbours_in_the_map():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(3), 20)
    means = 10 * np.eye(3, 16)[kinds] + rng.standard_normal((60, 16))
    points = two_dimensions(means.astype(np.float32))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (kinds[distances.argmin(1)] == kinds).mean() > 0.95
    np.testing.assert_array_equal(points, two_dimensions(means.astype(np.float32)))


def test_clips_are_coloured_by_class_and_where_it_is_known_by_site():
    plain = tones()
    stores = stores_of(plain, "train", "validation")
    sites = {name: f"site {i % 2}" for i, name in enumerate(stores[0].ids)}
    alone, both = map_section(stores, plain), map_section(stores, tones(groups=sites))
    assert "Coloured by class." in alone.paragraphs[0]
    assert "71 training clips" in alone.paragraphs[0]
    assert "by class and by recording or site: where sites" in both.paragraphs[0]
    one, two = (
        image.imread(io.BytesIO(section.pictures[0].png)).shape[1]
        for section in (alone, both)
    )
    assert two == 2 * one


def test_of_many_clips_some_are_drawn_and_few_have_no_map(monkeypatch):
    stores = stores_of(tones(), "validation")
    monkeypatch.setattr(clip_map, "MOST_CLIPS", 5)
    assert "one of 5 training clips" in map_section(stores, tones()).paragraphs[0]
    monkeypatch.setattr(clip_map, "MOST_CLIPS", 3)
    assert map_section(stores, tones()) is None
