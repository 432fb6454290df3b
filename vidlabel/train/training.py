"""`vidlabel train`: options -> a model folder. Runs in every process of `torchrun` or `accelerate launch`; the first
one writes."""

from __future__ import annotations

import importlib.util
import shutil
from contextlib import ExitStack
from pathlib import Path

from vidlabel.atomic import remove_leftovers
from vidlabel.errors import InputError
from vidlabel.failures import FailureLog
from vidlabel.lock import locked
from vidlabel.stop import Stop
from vidlabel.train.options import Place, TrainOptions, choose_device
from vidlabel.train.settings import TrainSettings
from vidlabel.train.starting import Beginning


def train(settings: TrainSettings, beginning: Beginning, options: TrainOptions) -> int:
    """Learns and writes `options.out`. The exit code: 0; 3, some videos were left out; 128 and a signal, it stopped."""
    check(settings, beginning, options)
    from vidlabel.train.material import read_material
    from vidlabel.train.running import run  # loads accelerate, whose absence is an InputError of its own

    material = read_material(settings, options)

    place = Place()
    work = options.out.with_name(options.out.name + ".work")
    with ExitStack() as stack:
        if place.is_first:
            stack.enter_context(locked(work))
            remove_leftovers(work)
        stop = stack.enter_context(Stop()) if place.num_processes == 1 else Stop()
        failures = stack.enter_context(_failures(options.out, place))
        finished = run(settings, beginning, options, material, place, work, stop, failures.add)
        if finished and place.is_first:
            for path in work.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()
        num_failures = len(failures)
    if not finished:
        assert stop.signal_number is not None
        return 128 + stop.signal_number
    # a launcher takes any other code for a crash
    return 3 if num_failures and place.num_processes == 1 else 0


def check(settings: TrainSettings, beginning: Beginning, options: TrainOptions) -> None:
    """All that can be wrong with the options, before any work."""
    if importlib.util.find_spec("accelerate") is None:
        raise InputError("training needs accelerate: pip install 'vidlabel[train]'")
    if options.out.exists():
        raise InputError(f"--out {options.out}: exists already; name a new folder")
    if options.eval_data and options.eval_share is not None:
        raise InputError("--eval-share: leave it out with --eval-data")
    if options.eval_share is not None and not 0 < options.eval_share < 1:
        raise InputError(f"--eval-share {options.eval_share}: is between 0 and 1, say 0.05")
    if settings.turns > 1 and settings.prompt_form == "reference":
        raise InputError(f"--turns {settings.turns}: the reference's form has one question a row")
    if options.caption_data and settings.stage != "instruct":
        raise InputError(f"--caption-data: belongs to instruct; {settings.stage} has its captions in --data")
    if settings.dtype == "fp16" and choose_device(options.device) == "cpu":
        raise InputError("--dtype fp16: a CPU trains in fp32 or bf16")
    beginning.fingerprint  # noqa: B018 - that it is there at all


def _failures(out: Path, place: Place) -> FailureLog:
    """Where failed videos go: a file for each process, the first one's with the usual name."""
    suffix = "" if place.is_first else f".{place.rank}"
    return FailureLog(out.with_name(f"{out.name}{suffix}.failures.jsonl"))
