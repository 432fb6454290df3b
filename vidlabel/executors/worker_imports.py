"""What a decode worker needs, imported once in the fork server that workers are forked from."""

import av  # noqa: F401, TID253
import cv2  # noqa: TID253
import torch  # noqa: TID253

import vidlabel.frames
import vidlabel.scenes  # noqa: F401


def single_thread() -> None:
    """One thread a worker, because there is one worker a core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
