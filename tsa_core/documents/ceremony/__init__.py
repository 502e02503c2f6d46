"""Protocols of key ceremonies: who made, took or destroyed a key, when and how; signed by the key, and timestamped."""
