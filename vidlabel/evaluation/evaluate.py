"""`vidlabel eval`: data -> questions to a model -> answers and likelihoods -> measures, and a judge's verdicts.

A model is asked by an ordinary run, so that it resumes and records failures; what was made before counts the same.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from vidlabel.atomic import write_whole
from vidlabel.data import Task
from vidlabel.errors import InputError
from vidlabel.evaluation.answered import Answered
from vidlabel.evaluation.chat import ChatModel
from vidlabel.evaluation.joining import mean_loss, read_answers, read_likelihoods
from vidlabel.evaluation.judgements import judge
from vidlabel.evaluation.likeness import check_installed
from vidlabel.evaluation.losses import ask_references, load_scorer
from vidlabel.evaluation.measures import measure, parts
from vidlabel.evaluation.options import EvalOptions
from vidlabel.evaluation.predictions import read_predictions
from vidlabel.evaluation.questions import Asked, ask, with_references
from vidlabel.evaluation.results import Results
from vidlabel.labelling import label
from vidlabel.models.presets import resolve
from vidlabel.outputs import parse_output
from vidlabel.progress import say
from vidlabel.prompts import load_pool
from vidlabel.summary import Summary
from vidlabel.train.examples import Example, ExampleTally, NoTextsError
from vidlabel.train.reading import read_examples

PICTURES = "are pictures, and answers are about videos"
_OTHER_TASK = "are not of the task "


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of it. Without results the run was stopped before all was answered."""

    results: Results | None
    exit_code: int


@dataclass(frozen=True, slots=True)
class _Measured:
    """What there is to be measured."""

    answers: list[Answered]
    num_examples: int
    left_out: Mapping[str, int]
    losses: Mapping[str, float]  # of each part
    exit_code: int = 0


def evaluate(options: EvalOptions) -> Evaluated:
    """Writes the results. Whatever is wrong with the input is found before a model is loaded."""
    check_installed()
    chat = None
    if options.judge is not None:
        chat = ChatModel(options.judge.url, options.judge.model, options.judge.timeout_seconds)
    measured = _of_data(options) if options.data else _of_predictions(options)
    if isinstance(measured, int):
        return Evaluated(None, measured)
    if not measured.answers:
        raise InputError(f"none of the {measured.num_examples} examples has an answer")
    judged = None
    if chat is not None and options.judge is not None:
        store = options.beside("judgements.jsonl")
        judged = judge(
            measured.answers,
            chat,
            store,
            concurrency=options.judge.concurrency,
            log_format=options.asking.log_format,
        )
    results = Results(
        settings=_settings(options),
        num_examples=measured.num_examples,
        num_unanswered=measured.num_examples - len(measured.answers),
        left_out=measured.left_out,
        measures={name: measure(of, measured.losses.get(name)) for name, of in parts(measured.answers).items()},
        judged=judged,
    )
    write_whole(options.out, results.to_json())
    return Evaluated(results, measured.exit_code or (3 if judged is not None and judged.num_failed else 0))


def _of_predictions(options: EvalOptions) -> _Measured:
    assert options.answers is not None
    answers = read_predictions(options.answers)[: options.limit]
    return _Measured(answers, len(answers), {}, {})


def _of_data(options: EvalOptions) -> _Measured | int:
    """An exit code where a run was stopped."""
    examples, left_out = _examples(options)
    pool = load_pool(options.asking.prompts or "caption")
    if pool.task != "caption":
        raise InputError(f"--prompts {pool.name}: a pool of qa prompts; captions are asked for by those of caption")
    asked = ask(examples, pool, options.asking.seed)
    labels = options.answers or options.beside("answers.jsonl")
    losses: dict[str, float] = {}
    summary = Summary()
    if options.model is not None:
        spec = resolve(options.model)
        summary = _run(options, asked, scores=False)
        if summary.signal_number is None and options.with_loss and spec.form != "echo":
            gc.collect()  # the first model goes before the second comes
            scored = _run(options, ask_references(asked), scores=True)
            summary = scored if scored.exit_code else summary
        if summary.signal_number is not None:
            return summary.exit_code
    answers = read_answers(labels, asked)
    if options.model is not None and options.with_loss:
        losses = _losses(options, asked, answers)
    return _Measured(answers, asked.num_examples, left_out, losses, summary.exit_code)


def _examples(options: EvalOptions) -> tuple[list[Example], Mapping[str, int]]:
    """Of every task that the data hold, unless one is asked for."""
    tasks: tuple[Task, ...] = ("caption", "qa") if options.task == "auto" else (options.task,)
    found: list[Example] = []
    left_out = ExampleTally()
    refusals: list[NoTextsError] = []
    for task in tasks:
        tally = ExampleTally()
        try:
            found += read_examples(
                options.data,
                task=task,
                root=options.root,
                video_root=options.video_root,
                text_column=options.text_column,
                keep_flagged=options.keep_flagged,
                subset=options.subset,
                tally=tally,
            )
        except NoTextsError as error:
            refusals.append(error)
            continue
        left_out.add(tally, but=_OTHER_TASK if options.task == "auto" else None)
    if not found:
        raise refusals[0]
    videos = [example for example in found if example.video is not None]
    for example in found:
        if example.image is not None:
            left_out.leave_out(PICTURES, example.image)
    if not videos:
        raise InputError(f"--data {', '.join(options.data)}: holds pictures alone, and answers are about videos")
    left_out.num_given = len(videos)
    left_out.report()
    return with_references(videos)[: options.limit], left_out.left_out


def _run(options: EvalOptions, asked: Asked, *, scores: bool) -> Summary:
    assert options.model is not None
    answers = options.answers or options.beside("answers.jsonl")
    out = options.beside("losses.jsonl") if scores else answers
    labelling = options.asking.label_options(options.model, options.data, out)
    summary = label(labelling, videos=asked, load=load_scorer) if scores else label(labelling, videos=asked)
    failures = parse_output(out).failures
    say(summary.to_text(labels=str(out), failures=str(failures)), summary.to_fields(), options.asking.log_format)
    return summary


def _losses(options: EvalOptions, asked: Asked, answers: list[Answered]) -> dict[str, float]:
    labels = options.beside("losses.jsonl")
    if not labels.exists():
        return {}
    likelihoods = read_likelihoods(labels, asked)
    found = {}
    for name, of in parts(answers).items():
        loss = mean_loss(asked, likelihoods, [answer.example_id for answer in of])
        if loss is not None:
            found[name] = loss
    return found


def _settings(options: EvalOptions) -> dict[str, object]:
    values: dict[str, object] = {
        name: str(value) if name in ("out", "answers") and value is not None else value
        for name, value in asdict(options).items()
    }
    if options.model is not None:
        spec = resolve(options.model)
        values |= {"model": spec.name, "model_fingerprint": spec.fingerprint}
    return values
