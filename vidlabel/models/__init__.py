"""The models that answer: MiniGPT4-video, and the presets that name its weights."""
