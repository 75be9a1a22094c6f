"""What JAX compiles, counted by name."""

from contextlib import contextmanager

import jax

from radon_numpyro.inference.nuts import blocks, warm_start
from radon_numpyro.inference.nuts import draws as constrain

# What JAX reports once for each program that its compiler makes or its cache on the disk gives.
COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations():
    """Names of the programs compiled inside, as a list that fills."""
    # What a fit before left behind, if an error ended it.
    for program in (warm_start._warm_start, blocks._begin, blocks._advance, constrain._constrain):
        for compilation in program._compilations.values():
            compilation.wait()
    names = []

    def listen(event, duration, **about):
        if event == COMPILED:
            names.append(about["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
