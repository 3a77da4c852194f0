"""What a server could do to a release's cache: an operation runs only where its scheduler could."""
