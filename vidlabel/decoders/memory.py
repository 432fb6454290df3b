"""A hard limit on the memory of a decode worker, and what running into it says about a video."""

from __future__ import annotations

from vidlabel.errors import VideoError


def limit_memory(memory_mb: int) -> None:
    """Limits this process's data segment, for good. For a worker's initialiser.

    The data segment (RLIMIT_DATA) is what malloc and anonymous mappings take: a decoder bomb runs into it, while the
    libraries that torch maps, gigabytes with CUDA, do not count as they would for the address space (RLIMIT_AS).
    """
    if memory_mb < 1:
        raise ValueError(f"a memory limit is at least 1 MB, got {memory_mb = }")
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def is_memory_fault(error: BaseException) -> bool:
    """True for numpy's, FFmpeg's and torch's ways to say that memory ran out."""
    torch_says = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or torch_says


def memory_error() -> VideoError:
    """The reason names the limit, because raising it may help."""
    try:
        import resource
    except ImportError:
        return VideoError("needs more memory than there is")
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        return VideoError("needs more memory than there is")
    return VideoError(f"needs more than the memory limit of {soft >> 20} MB")
