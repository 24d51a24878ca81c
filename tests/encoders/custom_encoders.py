"""Encoders as users might write them, without importing this package.

Each of those under "Encoders with a mistake" makes exactly one.
"""

import itertools

import numpy as np

RATE, HOP, BANDS, BINS = 1000, 100, 2, 8
EDGES = ((0.0, 250.0), (250.0, 500.0))


class Spectral:
    """Log-magnitudes of frames of 100 ms in NumPy, 8 bins for each of 2 bands."""

    sample_rate = RATE
    version = "1"
    seconds_per_step = HOP / RATE
    frequency_edges_hz = EDGES
    jittable = False
    licence = "CC0"

    def __init__(self, gain=1.0, weights=None):
        self.gain, self.weights = gain, weights
        self.batches = []

    def __call__(self, waveform, lengths):
        assert type(waveform) is type(lengths) is np.ndarray
        assert (waveform.dtype, lengths.dtype) == (np.float32, np.int32)
        self.batches.append(len(waveform))
        return self.gain * self.spectra(waveform)

    @staticmethod
    def spectra(waveform):
        frames = waveform[:, : waveform.shape[1] // HOP * HOP].reshape(
            len(waveform), -1, HOP
        )
        bins = np.abs(np.fft.rfft(frames))[..., : HOP // 2]
        # 25 bins of 10 Hz per band; the first eight of every third.
        bands = bins.reshape(*bins.shape[:2], BANDS, -1)[..., : 3 * BINS : 3]
        return np.log(0.01 + bands).astype(np.float32)


class Jax:
    """One matrix in JAX, which is an argument of the compiled program."""

    sample_rate, version, seconds_per_step = RATE, 7, HOP / RATE

    def __init__(self):
        kernel = np.random.default_rng(0).standard_normal((HOP, 6))
        self.params = {"kernel": kernel.astype(np.float32)}

    def apply(self, params, waveform, lengths):
        frames = waveform.reshape(len(waveform), -1, HOP)
        real = np.arange(frames.shape[1])[None] * HOP < lengths[:, None]
        patches = abs(frames @ params["kernel"])
        return {"patches": patches, "cls": patches[:, 0], "mask": real}


def closed():
    """Makes the same encoder with weights that are part of the program."""
    model = Jax()

    class Closed:
        sample_rate, version, seconds_per_step = RATE, 7, HOP / RATE

        def __call__(self, waveform, lengths):
            return model.apply(model.params, waveform, lengths)

    return Closed()


class Checkpoint(Spectral):
    """Opens a checkpoint by itself, of which its key knows nothing."""

    def __init__(self):
        super().__init__(gain=np.float32(np.loadtxt("checkpoint.txt")))


class Placed:
    """Magnitudes in any number of bands at steps of 50 ms, in a given disorder."""

    sample_rate, version, jittable = 4000, 1, False

    def __init__(self, bands=4, disorder="none", stated=0.05, hop=200):
        self.bands, self.disorder, self.hop = bands, disorder, hop
        self.seconds_per_step = stated
        edges = np.linspace(0, 2000, bands + 1).tolist()
        self.frequency_edges_hz = list(itertools.pairwise(edges))

    def __call__(self, waveform, lengths):
        b, samples = waveform.shape
        frames = waveform[:, : samples // self.hop * self.hop].reshape(b, -1, self.hop)
        bins = np.abs(np.fft.rfft(frames, n=200))[..., :100]
        x = bins.reshape(*bins.shape[:2], self.bands, -1)
        # The same number of features for any number of bands.
        x = np.log(1e-3 + x[..., :: x.shape[-1] // 5][..., :5]).astype(np.float32)
        return self.disordered(x)

    def disordered(self, x):
        b, t, f, d = x.shape
        rng = np.random.default_rng(0)
        match self.disorder:
            case "frequency flipped":
                return x[:, :, ::-1]
            case "time flipped":
                return x[:, ::-1]
            case "both flipped":
                return x[:, ::-1, ::-1]
            case "frequency first":
                return x.swapaxes(1, 2).reshape(x.shape)
            case "read as frequency first":
                return x.reshape(b, f, t, d).swapaxes(1, 2)
            case "swapped":
                return x.swapaxes(1, 2)
            case "shuffled":
                return x[:, :, rng.permutation(f)]
            case "one step late":
                return np.pad(x[:, :-1], [(0, 0), (1, 0), (0, 0), (0, 0)])
            case "mixed":
                kernel = rng.standard_normal((t * f * d, t * f * d), np.float32)
                return (x.reshape(b, -1) @ kernel).reshape(x.shape)
        return x


# Encoders with a mistake


class ForgotToSay(Spectral):
    jittable = True

    def __call__(self, waveform, lengths):
        return self.spectra(waveform)


class Large(Spectral):
    def __call__(self, waveform, lengths):
        return super().__call__(waveform, lengths) + np.float32(10_000)


class Nameless(Spectral):
    version = None


class DependsOnBatch(Spectral):
    def __call__(self, waveform, lengths):
        x = self.spectra(waveform)
        return x - x.max()


class Drops(Spectral):
    """Has dropout switched on."""

    def __call__(self, waveform, lengths):
        x = self.spectra(waveform)
        return x * (np.random.default_rng().random(x.shape) < 0.9)


class Unseeded(Spectral):
    """Draws new weights whenever it is loaded."""

    def __init__(self):
        self.kernel = np.random.default_rng().standard_normal((BINS, BINS))

    def __call__(self, waveform, lengths):
        return self.spectra(waveform) @ self.kernel


class Renamed(Spectral):
    """Has another version whenever it is loaded."""

    def __init__(self):
        super().__init__()
        self.version = str(np.random.default_rng().integers(2**32))


class OneLength(Spectral):
    """Takes only clips of one second."""

    def input_samples(self, seconds):
        return RATE

    def __call__(self, waveform, lengths):
        assert waveform.shape[1] == RATE, "the input must last one second"
        return self.spectra(waveform)


class WrongStep(Spectral):
    seconds_per_step = 0.05


class BandsDescend(Spectral):
    def __call__(self, waveform, lengths):
        return self.spectra(waveform)[:, :, ::-1]


class Reversed(Spectral):
    def __call__(self, waveform, lengths):
        return self.spectra(waveform)[:, ::-1]


class WrongBands(Spectral):
    frequency_edges_hz = (*EDGES, (500.0, 600.0))


class BandsAboveNyquist(Spectral):
    frequency_edges_hz = ((0.0, 500.0), (500.0, 1000.0))


class Swapped(Spectral):
    """Flattens with frequency first and reshapes with time first."""

    def __call__(self, waveform, lengths):
        x = self.spectra(waveform)
        return x.swapaxes(1, 2).reshape(x.shape)


class NanInSilence(Spectral):
    def __call__(self, waveform, lengths):
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.spectra(waveform / waveform.std(1, keepdims=True))


class Ragged(Spectral):
    """Gives a number of time steps that depends on the sound."""

    def __call__(self, waveform, lengths):
        loud = int((abs(waveform) > 0.2).sum()) % 3
        return self.spectra(waveform)[:, loud:]


class Flat(Spectral):
    def __call__(self, waveform, lengths):
        return self.spectra(waveform).mean((1, 2))


class Integers(Spectral):
    def __call__(self, waveform, lengths):
        return self.spectra(waveform).astype(np.int32)


class Misnamed(Spectral):
    def __call__(self, waveform, lengths):
        return {"patch": self.spectra(waveform)}


class WantsGrad(Spectral):
    """Returns something that cannot be read as an array, as tensors with gradients."""

    class Tensor:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def __call__(self, waveform, lengths):
        return self.Tensor()


an_object = Spectral()
