"""What may happen, one family a file."""
