"""Hundreds of mutated studies and spaces: each is read, or rejected in words."""

from __future__ import annotations

import copy
import random
import signal
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.files.write import format_yaml
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.detector import DetectorSpace
from scalesearch.study.inputs import grid_of
from scalesearch.study.load import load_study

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
CASES, SECONDS = 600, 10

TEXTS = (
    *("", " ", "\t", "\n", ":", "-", "#", "{", "}", "[", "]", "&a", "*a", "<<: *a", "|", "---"),
    *("!!python/x", "...", "'", '"', "0123", "1e-3", "1e400", ".nan", "-.inf", "~", "yes", "1:30"),
    *("\u00a0", "\u200b", "\ufeff", "\uff1a", "\u2212", "\u0435", "\U0001f600", "\x00", "\x07"),
    "x" * 3000,
)
VALUES = (
    *(None, True, False, 0, -1, 1, 2, 3, 10**6, 10**12, 10**30, -(10**18), 0.5, -0.0, 1e308),
    *(5e-324, float("nan"), float("inf"), "", "a", "tpe", "mbconv", "..", "/", "a/b", "~", "0"),
    *("1e3", "400M", "64MiB", "10m", "name", "x" * 5000, [], {}, [[]], [1], [1, "a"], {"a": 1}),
    *([1, 1], [0], ["accuracy", "flops"], list(range(3000)), {"max": "2M"}, {"min": 5, "max": 1}),
    {"name": "tpe"},
)


def change_text(text, draws):
    """A few characters or lines less, more, twice or elsewhere."""
    for _ in range(draws.randint(1, 3)):
        lines = text.split("\n")
        place = draws.randrange(len(lines))
        match draws.randrange(7):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, draws.choice(lines))
            case 2:
                lines[place] = " " * draws.randint(0, 5) + lines[place].lstrip()
            case 3:
                other = draws.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case 4:
                start = draws.randint(0, len(lines[place]))
                lines[place] = lines[place][:start] + draws.choice(TEXTS) + lines[place][start:]
            case 5:
                start = draws.randint(0, len(lines[place]))
                lines[place] = lines[place][:start] + lines[place][start + draws.randint(1, 4) :]
            case 6:
                words = lines[place].split()
                draws.shuffle(words)
                lines[place] = " ".join(words)
        text = "\n".join(lines) or "a"
    return text


def places(plain):
    """Every mapping and list below, with each of its keys."""
    keys = plain if isinstance(plain, dict) else range(len(plain))
    for key in list(keys):
        yield plain, key
        if isinstance(plain[key], dict | list):
            yield from places(plain[key])


def change_values(plain, draws):
    """Some values of another kind, some keys less, under another name, or with another's value."""
    plain = copy.deepcopy(plain)
    for _ in range(draws.randint(1, 3)):
        every = list(places(plain))
        if not every:
            break
        holder, key = draws.choice(every)
        match draws.randrange(6):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(draws.choice(VALUES))
            case 3:
                del holder[key]
            case 4:
                other, name = draws.choice(every)
                holder[key] = copy.deepcopy(
                    other.get(name) if isinstance(other, dict) else other[name]
                )
            case 5 if isinstance(holder, dict):
                word = str(key)
                at = draws.randrange(len(word) + 1)
                holder[word[:at] + draws.choice("aeinst_ \u0435") + word[at + 1 :]] = holder[key]
    return plain


@contextmanager
def within(seconds):
    def stop(number, frame):
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def use_study(path):
    """All that a check does with a study before it reads images."""
    study = load_study(path)
    used = (study.dataset, study.evaluator, study.execution.executor, *study.export)
    for plugin in filter(None, used):  # what looks results up has no data set
        plugin.make()
    if study.search is not None:
        study.search.sampler.make()
        use_space(study.search.space)
    elif study.baseline is not None:
        network = study.baseline.make()
        cost(network)
        if study.grid is not None:
            grid_of(study, network)


def use_space(path):
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    space = (DetectorSpace if "neck" in text else BackboneSpace).load(path)
    assert space.size >= 1
    cost(space.sample(0))


def mutated(draws):
    """A file's text, and what uses it."""
    path = draws.choice([*STUDIES, *SPACES])
    text = path.read_text()
    use = use_study if path in STUDIES else use_space
    if draws.random() < 0.5:
        return path, change_text(text, draws), use
    return path, format_yaml(change_values(yaml.safe_load(text), draws)), use


def fuzz(seed, cases, folder):
    """What went wrong: a traceback or a hang for each case."""
    for name in ("studies", "search_spaces"):
        (folder / name).mkdir()
    for path in (*STUDIES, *SPACES):
        (folder / path.parent.name / path.name).write_text(path.read_text())
    draws, wrong, read = random.Random(seed), [], 0
    for case in range(cases):
        path, text, use = mutated(draws)
        file = folder / path.parent.name / "mutated.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            with within(SECONDS):
                use(file)
            read += 1
        except UserError as error:
            if len(str(error)) > 6000:
                wrong.append(f"case {case} of {path.name}: a message of {len(str(error)):,}")
        except Exception:
            wrong.append(
                f"case {case} of {path.name}:\n{traceback.format_exc(limit=-4)}\n{text[:1500]}"
            )
    return wrong, read


@pytest.mark.slow
def test_hundreds_of_mutations(tmp_path):
    began = time.monotonic()
    wrong, read = fuzz(0, CASES, tmp_path)
    assert not wrong, "\n\n".join(wrong[:5])
    # Both kinds appear: what is still right, and what is rejected.
    assert CASES * 0.05 < read < CASES * 0.9
    print(f"{CASES} cases, {read} read, {time.monotonic() - began:.0f} s")
