"""Labels become the data set of a trainer: `vidlabel export`. One format is one file of `formats`; what all share is
reading the labels by clip, choosing texts that the format can hold, and putting the video files in place."""
