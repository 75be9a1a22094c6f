"""JAX: devices, the choice of a device, compiled programs, and compilation in other threads."""
