"""A run in progress: interrupts, the clock, checkpoints and what identifies a fit."""
