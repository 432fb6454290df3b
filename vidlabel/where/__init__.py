"""`--where "motion > 0.2 and not letterboxed"`: a condition on rows, as SQL has them, read by a parser of its own.

    tokens.py   text -> words, each with its place in the text
    tree.py     what a condition is made of
    parsing.py  words -> tree
    binding.py  the tree and the columns that there are -> a condition that can be asked of rows
    rows.py     asked of one row
    batches.py  asked of an arrow batch, with the same answers

Nothing is ever run that the text holds, and a text from anywhere costs no more than its length.
A comparison with a missing value is neither true nor false, and only what is true is kept.
"""
