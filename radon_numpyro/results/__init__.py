"""Fits as DataTrees: build, read, store, diagnose and summarise them, and predict from them."""
