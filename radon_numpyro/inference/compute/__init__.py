"""JAX: devices, the choice of one, compiled programs, and compilation in other threads."""
