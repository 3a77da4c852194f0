"""Configurations and operations for a release: those of the machine, made legal for a server."""
