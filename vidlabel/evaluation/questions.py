"""Examples -> what each video is asked, and back from a label to the examples that it answers.

Examples of one video with one question are one, with several references. An example without a question of its own
gets an instruction from a pool, by a hash of its video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vidlabel.data import Question, Span, Task, Video, stable_id
from vidlabel.labels import escape_name
from vidlabel.prompts import Pool, choose
from vidlabel.train.examples import Example

Key = tuple[str, Task, str]  # the video's id, what was asked, and how


@dataclass(frozen=True, slots=True)
class Asked:
    """Some examples, as questions to their videos."""

    examples: Mapping[Key, tuple[Example, ...]]  # of each question; parts of a test set may share one
    videos: tuple[Video, ...]  # each span one of its own
    places: Mapping[tuple[str, int | None], str]  # path as labels have it, start in milliseconds (None: whole) -> id

    def __iter__(self) -> Iterator[Video]:
        return iter(self.videos)

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def most_questions(self) -> int:
        return max((len(video.questions) for video in self.videos), default=0)

    @property
    def num_examples(self) -> int:
        return sum(map(len, self.examples.values()))

    def references(self, video: Video, question: Question) -> tuple[str, ...]:
        """All that is right to say."""
        same = self.examples[video.video_id, question.task, question.text]
        return tuple(dict.fromkeys(text for example in same for text in (example.answer, *example.references)))


def with_references(examples: Iterable[Example]) -> list[Example]:
    """Examples that ask the same of the same, as one with all that is right to say; in order of first mention."""
    gathered: dict[tuple[object, ...], list[Example]] = {}
    for example in examples:
        span = None if example.video is None else example.video.span
        parts = (example.task, example.question, example.group, example.pair, example.language.partition("-")[0])
        gathered.setdefault((example.source, span, *parts), []).append(example)
    joined = []
    for same in gathered.values():
        texts = dict.fromkeys(text for example in same for text in (example.answer, *example.references))
        joined.append(replace(same[0], references=tuple(text for text in texts if text != same[0].answer)))
    return joined


def ask(examples: Sequence[Example], pool: Pool, seed: int) -> Asked:
    """The videos of the examples, each with its questions. Examples of pictures cannot be asked."""
    found: dict[Key, tuple[Example, ...]] = {}
    videos: dict[str, Video] = {}
    places: dict[tuple[str, int | None], str] = {}
    questions: dict[str, dict[Question, None]] = {}
    for example in examples:
        if example.video is None:
            raise ValueError(f"only videos are asked, got {example.image = }")
        video = replace(example.video, video_id=_video_id(example.video))
        question = _question(example, video, pool, seed)
        key = (video.video_id, example.task, question.text)
        places[place_of(escape_name(video.path), video.span)] = video.video_id
        found[key] = (*found.get(key, ()), example)
        videos.setdefault(video.video_id, video)
        questions.setdefault(video.video_id, {})[question] = None
    asked = tuple(replace(video, questions=tuple(questions[name])) for name, video in videos.items())
    return Asked(found, asked, places)


def place_of(path: str, span: Span | None) -> tuple[str, int | None]:
    return path, None if span is None else round(1000 * span.start_seconds)


def _question(example: Example, video: Video, pool: Pool, seed: int) -> Question:
    if example.question is not None:
        return Question(example.question, "data", example.task, example.language)
    (question,) = choose(pool, clip_id=video.video_id, seed=seed, per_clip=1, language=example.language)
    return question


def _video_id(video: Video) -> str:
    """Of the span, so that each is a video of its own in a run."""
    span = video.span
    return video.video_id if span is None else stable_id(video.video_id, f"{span.start_seconds}-{span.end_seconds}")
