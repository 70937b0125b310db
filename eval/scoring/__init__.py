"""The offline scorer: a small linear model over features that are named, learned from our own data.

`offline` loads and applies it, `fit` learns it, `corruptions` are the degenerate replies that it
must put last.
"""
