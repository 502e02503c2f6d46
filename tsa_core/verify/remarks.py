"""The notes of a verdict: what was odd, allowed or proven, and which allowance had no effect (rules V16, V19, V20)."""

from __future__ import annotations

from tsa_core.paths.building import Path
from tsa_core.paths.notes import Note
from tsa_core.protocol.reply import Token
from tsa_core.verify.errors import AuthorityNameMismatch
from tsa_core.verify.proof import ByDate
from tsa_core.verify.statement import Statement
from tsa_core.verify.tolerances import TSA_NAME
from tsa_core.verify.tsa_name import check_tsa_name
from tsa_core.verify.weaknesses import find_weaknesses


def remarks(token: Token, statement: Statement, path: Path, by_date: ByDate, allow: frozenset[str]) -> tuple[Note, ...]:
    """Return the notes about a token whose signature and path are good.

    Raises AuthorityNameMismatch (V16), and ProofMissing (V20) for a weakness that the proof does not cover.
    """
    signed, info, algorithm = statement
    notes = [*signed.notes, *path.notes]
    used: set[str] = set()
    try:
        check_tsa_name(info, path.signer)
    except AuthorityNameMismatch as error:
        if TSA_NAME not in allow:
            raise
        used.add(TSA_NAME)
        notes.append(Note(code=f"allowed-{TSA_NAME}", text=f"allowed: {error}"))
    if allow or by_date.existed is not None:
        for name, where, certificate in find_weaknesses(signed, algorithm, path):
            if name in allow:
                used.add(name)
                notes.append(Note(code=f"allowed-{name}", text=f"allowed: {name} in {where}"))
            else:
                notes.append(
                    by_date.accept(name, where, covered=certificate is None or certificate in token.certificates)
                )
    if allow:
        notes += [
            Note(code="allowance-unused", text=f"{name} was allowed, and this timestamp does not need it")
            for name in sorted(allow - used)
        ]
    return tuple(notes)
