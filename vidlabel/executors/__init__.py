"""Where the stages of a run are executed. Settings and values cross this seam, never a loaded model."""
