"""What must hold when everything goes wrong: real runs on real servers, disturbed at seeded moments.

`python -m tests.chaos` runs all of it and prints a table; `test_chaos.py` is the shorter part that pytest runs.
"""
