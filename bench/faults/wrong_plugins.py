"""Faults of plugins and settings: wrong types, classes, versions and names, backends that are down at start."""
