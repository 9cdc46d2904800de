"""What each command does from end to end; the only room that may import from all others."""
