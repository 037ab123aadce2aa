"""Boards as a static page that opens from the disk."""
