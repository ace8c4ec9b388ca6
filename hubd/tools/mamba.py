"""mamba and micromamba from 2.0 on, which are one program: argv tuples, and what its JSON and its log say. Runs nothing.

Has the functions of `tools.conda` under the same names. What is relied on, by the files of mamba's sources:

- `libmamba/src/api/create.cpp`: `create` refuses a folder that is there (older ones an empty one, too) or removes it whole,
  which a mount cannot be. `install` takes any folder with a `conda-meta` in it.
- `api/install.cpp`: `"success": true` is written before anything is fetched; of a failed solve there are `solver_problems`. Of
  any other failure the JSON tells nothing, and an empty `conda-meta/history` may be made first: `core/history.cpp` writes into
  it last.
- `api/configuration.cpp`: with --json the log is off or `critical` alone, unless a level is given: the causes are `error`,
  and what has come is `info`. From 2.8.1 on the same is in the JSON, too, as `log_records`. Without MAMBA_ROOT_PREFIX mamba
  looks for itself in PATH, and gives up where it is not there.
- `core/package_fetcher.cpp`, `core/output.cpp`, `core/context.cpp`: the words of the log, on standard error, further lines of
  an entry indented; with --json there are no bars.
- `specs/package_info.cpp`: an explicit list may have SHA-256 behind `#`. Before 2.0 `api/install.cpp` takes whatever is
  there for an MD5, so that no lock can be built again.
- `core/link.cpp`: records with `paths_data` as conda's; that a post-link script failed is not noticed, unless it could not
  be started.
- `api/clean.cpp`: takes out of the cache what no environment below its own root prefix has, which would be everything.
- `micromamba/src/main.cpp`: exit code 1 with one `critical` entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hubd.errors import DISK_FULL, HubdError, disk_full, last_line
from hubd.tools import conda
from hubd.tools.conda import Argv
from hubd.tools.lock import Lock

UNCLEAR = "mamba could not build the environment"
OLDEST = 2

# `info` for what has come, which is told of nowhere else.
_ALWAYS = ("install", "--json", "--yes", "--log-level", "info")

_ENTRY = re.compile(r"(critical|error|warning|info|debug|trace) +lib\w+ +(.*)")
_FETCHED = re.compile(r"Download finished, tarball available at '([^']+)'")
_ADVICE = "If you run into this error repeatedly"
_HEADINGS = ("Multiple errors occurred:", "Multiple errors occured:")


def drives(program: Path) -> bool:
    """Whether that is a program of this kind, by its name."""
    return program.name != "conda"


def version(program: Path) -> Argv:
    """Ask it for its version."""
    return (str(program), "--version")


def create(program: Path, prefix: Path, packages: Iterable[str], channels: Iterable[str]) -> Argv:
    """Fill an environment that has a `conda-meta` and nothing else."""
    chosen = [word for channel in channels for word in ("--channel", channel)]
    return (str(program), *_ALWAYS, "--override-channels", *chosen, "--prefix", str(prefix), *packages)


def create_locked(program: Path, prefix: Path, explicit: Path) -> Argv:
    """Fill such an environment with exactly what an explicit list names."""
    return (str(program), *_ALWAYS, "--prefix", str(prefix), "--file", str(explicit))


def explicit_list(lock: Lock) -> str:
    """A lock's packages as mamba reads them."""
    return conda.explicit_list(lock).replace("#sha256:", "#")


def too_old(program: Path, said: str, *, code: int) -> HubdError | None:
    """What keeps hubd from driving this program, by its answer to `version`; None for nothing."""
    fix = "Put a newer one where conda.path names it, or use `manager: rattler`, which needs none."
    found = re.search(r"\b(\d+)\.\d+[\w.]*", said) if code == 0 else None
    if found is None:
        why = last_line(said) or f"asked for its version it exited with {code}"
        return HubdError(f"{program} does not run", why=why, fix=fix)
    if int(found[1]) >= OLDEST:
        return None
    why = f"it takes the SHA-256 of a locked package for another checksum; {OLDEST}.0 and newer ones do not"
    return HubdError(f"{program} is too old: {found[0]}", why=why, fix=fix)


def fetched(line: str) -> tuple[str, bool] | None:
    """Which package a line tells of, and whether it is there now; no name for talk, None for what belongs into a log."""
    entry = _ENTRY.match(line)
    if entry is None or entry[1] in ("critical", "error", "warning"):
        return None
    came = _FETCHED.match(entry[2])
    return (Path(came[1]).name, True) if came else ("", False)


def incomplete(missing: Iterable[str], output: str) -> HubdError:
    """It said that all is well, and packages are not there."""
    return failure(output, code=0) if _errors(output) else conda.left_incomplete(missing, "mamba")


def failure(output: str, *, code: int) -> HubdError:
    """Its error as one sentence: which package, which channel, which pin."""
    errors = _errors(output)
    if DISK_FULL in output:
        return disk_full()
    problems = _problems(output)
    tree = next((text for text in errors if "Could not solve" in text and "\n" in text), "")
    if problems or tree:
        return conda.unsolvable("\n".join(f"  - {problem}" for problem in problems) or tree, _short(errors))
    return _in_words(errors) or HubdError(UNCLEAR, why=_short(errors) or _last(output) or f"it exited with {code}", retry=True)


def _in_words(errors: list[str]) -> HubdError | None:
    """The errors that have nothing to do with solving; None for an unknown one."""
    why = _short(errors)
    other = [text for text in errors if "doesn't match expectation" in text]
    if other:
        return conda.another_file(_short(other))
    script = re.search(r"failed to execute pre/post link script for (\S+)", why)
    if script:
        return conda.script_failed(script[1], why)
    if re.search(r"pars\w+ MatchSpec|invalid version", why, re.IGNORECASE):
        return conda.misspelt(why)
    if re.search(r"(?:status:? (?:401|404|410)\b|Download error \(37\))[^\]]*repodata", why):
        return conda.no_such_channel(why)
    if re.search(r"Download error \(|status:? \d|not loaded!|Failed to download|Download didn't finish", why):
        return conda.unreachable(why)
    return None


def _problems(output: str) -> list[str]:
    """What the solver's JSON names."""
    told = [each.get("solver_problems") for each in _answers(output)]
    return [str(problem) for problems in told for problem in ([problems] if isinstance(problems, str) else problems or [])]


def _errors(output: str) -> list[str]:
    """The entries of the log that are errors, each once."""
    return list(dict.fromkeys(text for level, text in (*_entries(output), *_records(output)) if level in ("error", "critical")))


def _entries(output: str) -> Iterator[tuple[str, str]]:
    level, lines = "", list[str]()
    for line in output.splitlines():
        entry = _ENTRY.match(line)
        if entry is None and line.startswith("    ") and level:
            lines.append(line.removeprefix("    "))
            continue
        if level:
            yield level, "\n".join(lines)
        level, lines = (entry[1], [entry[2]]) if entry else ("", [])
    if level:
        yield level, "\n".join(lines)


def _records(output: str) -> Iterator[tuple[str, str]]:
    """The same out of the JSON."""
    for each in _answers(output):
        records = each.get("log_records")
        for record in records if isinstance(records, list) else ():
            if isinstance(record, Mapping):
                level = {"err": "error"}.get(str(record.get("level")), str(record.get("level")))
                yield level, str(record.get("message") or "").replace("\n    ", "\n")
            else:
                yield from _entries(str(record))


def _answers(output: str) -> list[dict[str, Any]]:
    return [each for each in conda.objects(output) if isinstance(each, dict)]


def _short(errors: Iterable[str]) -> str:
    """Errors in one line, without headings, consequences and advice."""
    lines = [line.strip() for text in errors for line in text.partition(_ADVICE)[0].splitlines()]
    told = [line for line in dict.fromkeys(lines) if line and line not in _HEADINGS]
    causes = [line for line in told if not re.fullmatch(r"Subdir \S+ not loaded!", line)] or told
    return " ".join(" ".join(causes).split())[:600]


def _last(output: str) -> str:
    """The last line that is no talk; nothing where the last word was JSON."""
    lines = [line for line in output.splitlines() if fetched(line) is None]
    said = last_line("\n".join(lines))
    return "" if said.strip() in ("{", "}") else said
