"""The commands: each parses, calls one function of `toolkit.workflows`, and prints."""
