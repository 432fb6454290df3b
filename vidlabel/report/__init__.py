"""Labels for people to look at: one self-contained page (`vidlabel report`), and the same page served on this machine
with decisions by keyboard (`vidlabel review`). What labels say is data on it, and never becomes markup.
"""
