"""NUTS: warm start from the guide, compiled blocks, coordinates, and draws of all sites."""
