"""Attacks on the program, each with a seed and a budget; docs/reliability.md has their figures.

python -m tests.faults.kills --cases 300 --seed 1

The suite runs a few cases of each.
"""
