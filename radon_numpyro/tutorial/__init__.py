"""The radon tutorial: its numbers and figures, made anew."""
