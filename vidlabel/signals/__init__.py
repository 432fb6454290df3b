"""Numbers about a clip that say whether it is worth labelling: how it moves, how sharp it is, what lies on it.

Measured in the decode worker from the frames that are sampled anyway; `table.py` has all of them, with their meaning.
"""
