"""Record the programs that JAX compiles, by name."""

from contextlib import contextmanager

import jax

from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts import draws as constrain

# Event that JAX reports once for each program, compiled or loaded from the cache on disk.
COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations():
    """Yield a list that receives the names of the programs compiled in the context."""
    # Wait for compilations in the background that an earlier fit left running after an error.
    for program in (blocks._begin, blocks._advance, constrain._constrain):
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
