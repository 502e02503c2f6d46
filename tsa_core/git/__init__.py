"""Timestamps of Git commits and tags, in refs/notes/timestamps, over SHA-256 digests of what they contain."""

from tsa_core.git.notes import NOTES_REF, Notes
from tsa_core.git.repository import GitError, Repository
from tsa_core.git.statement import Statements

__all__ = ["NOTES_REF", "GitError", "Notes", "Repository", "Statements"]
