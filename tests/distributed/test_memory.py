from unmute_jax import distributed


def test_cpu_devices_share_the_memory_of_the_host():
    free, host = distributed.free_memory(), distributed.host_memory()
    assert free > 0
    # The two are looked up one after the other.
    assert 0.5 < free / host < 2
