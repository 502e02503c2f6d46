"""Keeps every timestamp that is issued, one file for each, and finds it again."""
