"""What always holds, one family a file."""
