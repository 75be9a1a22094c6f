"""Files: tables of text and of other programs read to columns, and files written whole."""
