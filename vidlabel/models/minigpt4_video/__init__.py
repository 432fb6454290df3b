"""MiniGPT4-video: vision tower, projection and a stock language model, loaded from the original files or our own."""
