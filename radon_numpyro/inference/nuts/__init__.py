"""NUTS: warm start from the guide, blocks of compiled steps, coordinates, draws of all sites."""
