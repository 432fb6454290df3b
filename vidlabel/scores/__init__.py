"""`vidlabel score`: what models from the hub think of clips, as columns of a file of labels or signals."""
