"""What standards demand of a timestamp authority: rules with their clauses, for servers and for whoever looks at one.

`chains/` judges certificate chains alone. `profiles` has the conformance profiles, and `rule` the facts that they
judge. Whoever sees an authority from outside gives what is seen, and what only its operator sees is not judged.
"""
