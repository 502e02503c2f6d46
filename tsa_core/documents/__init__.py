"""Documents for people: statements of the authority, the auditor's report and protocols of ceremonies.

A document is a sequence of blocks, which `markdown` and `html` write; neither lets a text become markup.
"""
