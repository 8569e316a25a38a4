"""The steps of a run: a function each, which takes values and returns values. Steps do not import each other."""
