"""vidlabel: batch video captioning with MiniGPT4-video."""

__version__ = "0.1.0"
