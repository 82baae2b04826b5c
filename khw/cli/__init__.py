"""The command line: one file a group of commands; they parse, call and render."""
