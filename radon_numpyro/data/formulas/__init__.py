"""Formulas: parse text to terms, and evaluate terms to columns, with the state of functions."""
