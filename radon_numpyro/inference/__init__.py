"""ADVI, NUTS, integration and exact draws; settings, devices, compilation, checkpoints."""
