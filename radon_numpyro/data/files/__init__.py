"""Read columns from tables of text and files of other programs, and write files atomically."""
