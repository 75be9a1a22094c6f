"""The command line: commands, options, and output to the terminal."""
