"""The error tree. Which class is raised decides what happens; nothing else does.

    VidlabelError
    |-- InputError      what the user gave is wrong: one line on stderr, exit 2
    |-- LockedError     another run holds the output: one line, exit 75
    |-- VideoError      one video or clip is bad: a line in the failures file, the run goes on
    |-- WriteError      what a run makes cannot be written, as on a full disk: one line, exit 1

Everything else is a bug or a broken machine: a traceback, exit 1, and what was saved stays saved.
"""


class VidlabelError(Exception):
    """Base of all errors that vidlabel raises on purpose."""


class InputError(VidlabelError):
    """The user's input is wrong. The message names the file, row or option and says what would be right."""


class LockedError(VidlabelError):
    """Another run holds the output. The message says who."""


class VideoError(VidlabelError):
    """One video or clip cannot be labelled.

    `permanent` says that trying again cannot help until the file changes (not a video, no video stream).
    Pickles, because it crosses from a decode worker to the run.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent

    def __reduce__(self) -> tuple[object, ...]:
        return _video_error, (self.reason, self.permanent)


class WriteError(VidlabelError, OSError):
    """One of our own files cannot be written: a full disk, one that turned read-only, or a folder without the right.

    Made like any OSError: number, words, file name.
    """


def _video_error(reason: str, permanent: bool) -> VideoError:
    return VideoError(reason, permanent=permanent)
