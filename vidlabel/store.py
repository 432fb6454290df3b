"""Writing to object stores. An object is whole or absent: stores show what is put only once all of it has come (S3
completes an upload of several parts in one step, Google a resumable one), so nothing is written beside and renamed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from vidlabel.errors import InputError
from vidlabel.remote import check_url, filesystem, is_hub, store_path, tried

WRITABLE = ("s3", "gs", "hf")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as its store speaks of it."""

    num_bytes: int
    version: str  # another one after each writing
    changed_at: datetime | None  # by the store's clock


def check_output_url(url: str) -> None:
    """InputError where nothing can be written at this URL."""
    _check_scheme(url)
    if not store_path(url).partition("/")[2].strip("/") or url.endswith("/"):
        raise InputError(f"{url}: name a file or a folder in the bucket, for example {url.rstrip('/')}/labels.parquet")


def writing_problem_at(url: str) -> str | None:
    """Why nothing can be written in this folder (or bucket); None if something can."""
    probe = f"{url.rstrip('/')}/.vidlabel-{uuid.uuid4().hex}"
    try:
        _check_scheme(url)
        if is_hub(url):
            return tried(url, lambda: check_hub_right(url))
        write_object(probe, b"")
        delete(probe)
    except InputError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    return None


def check_hub_right(url: str) -> None:
    """The hub's error where this repository may not be written to."""
    from huggingface_hub import HfApi

    place, api = filesystem(url).resolve_path(store_path(url)), HfApi()
    if "write" in signature(api.auth_check).parameters:  # older ones can ask for reading only
        api.auth_check(place.repo_id, repo_type=place.repo_type, write=True)


def stored(url: str) -> Stored | None:
    """What is there; None where nothing is."""
    try:
        return _stored(tried(url, lambda: _fresh(url).info(store_path(url))))
    except FileNotFoundError:
        return None


def stored_below(url: str) -> dict[str, Stored]:
    """All objects below a folder, by their names from there."""
    prefix = f"{store_path(url).rstrip('/')}/"
    try:
        found: Mapping[str, Mapping[str, Any]] = tried(url, lambda: _fresh(url).find(prefix.rstrip("/"), detail=True))
    except FileNotFoundError:
        return {}
    return {
        path.removeprefix(prefix): _stored(facts)
        for path, facts in found.items()
        if path.startswith(prefix) and not path.endswith("/")
    }


def read_object(url: str) -> bytes | None:
    """A small one; None where it is not there."""
    try:
        return tried(url, lambda: bytes(filesystem(url).cat_file(store_path(url))))
    except FileNotFoundError:
        return None


def write_object(url: str, data: bytes) -> None:
    tried(url, lambda: filesystem(url).pipe_file(store_path(url), data))


def upload(path: Path, url: str) -> None:
    tried(url, lambda: filesystem(url).put_file(str(path), store_path(url)))


def delete(url: str) -> None:
    """What is not there is fine."""
    with suppress(FileNotFoundError):
        tried(url, lambda: filesystem(url).rm_file(store_path(url)))


def write_if(url: str, data: bytes, version: str | None) -> bool:
    """Makes an object where there is none (`version` None), or replaces it if it is still that version; whether it did.

    The store decides, so of several that try at once one succeeds. A store that knows no such conditions writes in any
    case: whoever must be sure reads it back.
    """
    put = _put_if_google if urlsplit(url).scheme.lower() == "gs" else _put_if_s3

    def ask() -> bool:
        try:
            put(url, data, version)
        except FileNotFoundError:
            if version is None:
                raise  # there is no such bucket
            return False
        except FileExistsError:
            return False
        except OSError as error:
            code = _code(error)
            if code in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            if code != "NotImplemented":
                raise
            filesystem(url).pipe_file(store_path(url), data)
        return True

    return tried(url, ask)


def _put_if_s3(url: str, data: bytes, version: str | None) -> None:
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
    filesystem(url).pipe_file(store_path(url), data, **condition)


def _put_if_google(url: str, data: bytes, version: str | None) -> None:
    files, (bucket, _, name) = filesystem(url), store_path(url).partition("/")
    files.call(
        "POST",
        f"{files.base.replace('/storage/v1/', '/upload/storage/v1/')}b/{quote(bucket)}/o",
        uploadType="media",
        name=name,
        ifGenerationMatch=version or "0",
        headers={"Content-Type": "application/octet-stream"},
        data=data,
    )


def _check_scheme(url: str) -> None:
    check_url(url)
    if urlsplit(url).scheme.lower() not in WRITABLE:
        raise InputError(f"{url}: labels can be written to s3://, gs://, hf:// and local folders")


def _stored(facts: Mapping[str, Any]) -> Stored:
    versions = (str(facts[key]) for key in ("generation", "ETag", "blob_id", "xet_hash") if facts.get(key))
    changed = facts.get("LastModified") or facts.get("mtime")
    return Stored(int(facts.get("size") or 0), next(versions, ""), changed if isinstance(changed, datetime) else None)


def _fresh(url: str) -> Any:
    files = filesystem(url)
    files.invalidate_cache()
    return files


def _code(error: Exception) -> str | None:
    """What an S3 server calls the error that s3fs has translated."""
    chain: Iterator[object] = iter((error, error.__cause__))
    answers = (getattr(it, "response", None) for it in chain)
    return next(
        (answer["Error"].get("Code") for answer in answers if isinstance(answer, dict) and "Error" in answer), None
    )
