"""Compares the clock with what the local chronyd knows."""
