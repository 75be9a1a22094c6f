"""Formulas: text to terms, terms to columns, with what they learnt from the rows."""
