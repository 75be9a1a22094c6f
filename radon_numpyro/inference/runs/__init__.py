"""Control of a run: interrupts, the time limit, checkpoints, and the identity of a fit."""
