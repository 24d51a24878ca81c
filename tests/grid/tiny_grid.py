"""A grid of six cells, each of which takes a second or two."""

from unmute_jax.grid.cells import default_grid


def get_config():
    config = default_grid()
    config.probes = "linear,mlp,stats,knn,protobin,protofloat"
    config.dataset_options.train_clips = 24
    config.dataset_options.validation_clips = 12
    config.dataset_options.test_clips = 12
    config.batch_size = 16
    config.epochs = config.seeds = 1
    config.optimizer.learning_rates = (0.1,)
    return config
