"""Read tables and files of grouped data, check them, and audit them."""
