"""Subtitles from speech: find where a video is spoken in, write down what is said, leave out what was made up.

Each video is listened to once, as a whole; its clips share what was heard.
"""
