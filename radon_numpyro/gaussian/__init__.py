"""Closed-form distributions given the scales, without sampling and without files."""
