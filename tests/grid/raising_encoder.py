"""An encoder of a user that nodes must be able to import, and that fails there."""


class Raising:
    sample_rate = 16000
    version = "1"
    seconds_per_step = 0.1
    jittable = False

    def __call__(self, waveform, lengths):
        raise RuntimeError("its own fault")
