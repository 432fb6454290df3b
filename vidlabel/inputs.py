"""The videos of a run, each file (or span of one) once, in the order of first mention, with all that is asked of it.

They are not held: the inputs are gone through anew each time. The first time is when this is made, so whatever is wrong
with a row is found before any work starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from vidlabel.data import Question, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.manifests.mention import Mention
from vidlabel.paths import row_name
from vidlabel.survey import Clash, key_of, survey

Asked = list[tuple[str | None, Question]]  # with the id of the row that asks


class Inputs:
    """Can be gone through again and again. `mentions` gives the same each time, or an InputError."""

    def __init__(self, mentions: Callable[[], Iterator[Mention]]) -> None:
        self._mentions = mentions
        self._survey = survey(mentions())
        if self._survey.clash is not None:
            raise self._error(self._survey.clash)
        self.most_questions = self._survey.most_questions  # of one video
        self._scattered = self._gather_scattered() if self._survey.scattered else {}

    def __len__(self) -> int:
        return self._survey.num_videos

    def __iter__(self) -> Iterator[Video]:
        """A mention again of a file or span only adds its questions, wherever it stands."""
        first: Mention | None = None
        first_key = 0
        asked: Asked = []
        # no more than were surveyed: a manifest may grow while a run goes through it
        for mention, is_first in zip(self._mentions(), self._survey.is_first, strict=False):
            if is_first:
                if first is not None:
                    yield _video(first, asked)
                first, first_key = mention, key_of(mention) if self.most_questions else 0
                asked = list(self._scattered.get(first_key, ()))
            if mention.question is not None and first_key not in self._scattered and key_of(mention) == first_key:
                asked.append((mention.row_id, mention.question))
        if first is not None:
            yield _video(first, asked)

    def _gather_scattered(self) -> dict[int, Asked]:
        """What is asked of videos whose mentions do not stand together: the one thing that is held."""
        gathered: dict[int, Asked] = {}
        for mention in self._mentions():
            key = key_of(mention)
            if mention.question is not None and key in self._survey.scattered:
                gathered.setdefault(key, []).append((mention.row_id, mention.question))
        return gathered

    def _error(self, clash: Clash) -> InputError:
        found = {number: it for number, it in enumerate(self._mentions()) if number in (clash.at, clash.other)}
        at, other = found[clash.at], found[clash.other]
        value = at.row_id if clash.column == "id" else at.video_id
        return InputError(
            f"{row_name(*at.where)}: {clash.column} {value!r} of {at.path} is already that of "
            f"{other.path} in {row_name(*other.where)}; it must name one video or span"
        )


def _video(mention: Mention, asked: Asked) -> Video:
    own_id = mention.row_id
    video_id = mention.video_id or stable_id(mention.identity)
    if mention.span is None:
        own_id = video_id = mention.row_id or video_id
    return Video(
        video_id=video_id,
        path=mention.path,
        location=mention.location,
        span=mention.span,
        clip_id=None if mention.span is None else mention.row_id,
        subtitle=mention.subtitle,
        questions=_questions(own_id, asked) if asked else (),
        extra=mention.extra,
    )


def _questions(own_id: str | None, asked: Asked) -> tuple[Question, ...]:
    """Each text once, as it was asked first."""
    by_text: dict[str, tuple[str | None, Question]] = {}
    for row_id, question in asked:
        by_text.setdefault(question.text, (row_id, question))
    if any(row_id not in (None, own_id) for row_id, _ in by_text.values()):
        # the ids are those of the questions: they stay with them, for one video has one id
        return tuple(replace(q, extra={"id": row_id, **q.extra}) for row_id, q in by_text.values())
    return tuple(question for _, question in by_text.values())
