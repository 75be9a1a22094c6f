"""Fits as DataTrees: built, read, stored, diagnosed, summarised, used to predict."""
