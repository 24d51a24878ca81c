import io

import numpy as np
from matplotlib import image

from unmute_jax.inference.recordings.calibration_plot import calibration_png
from unmute_jax.metrics.decisions import calibration


def test_a_picture_is_drawn_even_if_bins_are_empty():
    found = calibration(np.array([0.05, 0.1, 0.95]), np.array([False, False, True]))
    picture = image.imread(io.BytesIO(calibration_png(found, "a title")))
    assert picture.shape[2] == 4
    # Something is drawn.
    assert picture[..., :3].min() < 0.5
