"""What a shell completes the words of `etude` with, and the scripts by which it asks.

Commands, recipes, runs, and the options that a command has in any case are known without JAX. The
fields of a recipe are known by its module, which is imported for them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from etude.cli.fields import Leaf, arity, leaves
from etude.cli.options import name_of, parse
from etude.cli.reading import Opening, opened
from etude.entry_points import COMMANDS, RECIPES, offered
from etude.errors import EtudeError, UsageError, suggest
from etude.verbs import Command

#: How many folders are looked into for runs, and how deep below what is typed.
FOLDERS, DEPTH = 1000, 3

SCRIPTS = {
    # Bash takes words apart at `=` and `:`, and replaces the part behind these alone.
    "bash": r"""_etude() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$(printf '%q' "$word")")
    done < <(etude completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _etude etude
""",
    "zsh": r"""#compdef etude
_etude() {
    local -a found
    found=(${(f)"$(etude completion zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then compadd -a found; else _files; fi
}
compdef _etude etude
""",
    "fish": r"""function __etude
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    set -l found (etude completion fish -- $words "$current" 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c etude -f -a '(__etude)'
""",
}

Known = Mapping[str, Command | Opening]
Find = Callable[[str], Command | Opening]


def answer(inputs: Sequence[str], known: Known, find: Find) -> str:
    """The script of a shell; or candidates for the last of the words that come after its name.

    `known` are the commands that are there without an import, `find` gives any.

    Raises `UsageError` for another shell, and what opening a recipe or a run raises.
    """
    if not inputs or inputs[0] not in SCRIPTS:
        got = repr(inputs[0]) if inputs else "nothing"
        near = suggest(inputs[0], SCRIPTS) if inputs else f"Known: {', '.join(SCRIPTS)}."
        raise UsageError([f"The name of a shell comes first; got {got}. {near}"])
    shell, *words = inputs
    if not words:
        return SCRIPTS[shell]
    behind = ""
    if shell == "bash":
        words, behind = _joined(words)
    return "".join(f"{word.removeprefix(behind)}\n" for word in candidates(words, known, find))


def candidates(words: Sequence[str], known: Known, find: Find) -> list[str]:
    """What the last word may become; nothing where any file may stand."""
    *before, current = words
    if not before:
        found = [*known, *offered(COMMANDS), "--help", "--version"]
    elif "--" in before:
        found = []
    elif before[0] in known or current.startswith("-"):
        found = _of_command(find(before[0]), before[1:], current)
    else:
        found = []
    return [word for word in found if word.startswith(current)]


def _of_command(command: Command | Opening, before: Sequence[str], current: str) -> Iterable[str]:
    options = leaves(command.options)
    name, joined, _ = current.partition("=")
    asked = {option for option in map(name_of, [*before, name if joined else ""]) if option}
    offers_names = current.startswith("-") and not joined
    if isinstance(command, Opening) and (offers_names or not asked <= options.keys()):
        with suppress(EtudeError):  # nothing by this name: the options of any
            found = opened(command, before)
            options |= {} if found is None else leaves(found.options)
    if offers_names:
        return [f"--{option}" for option in options if option not in asked] + ["--help"]
    if current.startswith("-"):
        return [f"{name}={value}" for value in _values(options.get(name_of(name) or ""))]
    line = parse(before, arity(options))
    last = list(line.options)[-1] if line.options else ""
    if last in options and options[last].takes.another(line.options[last], current):
        return _values(options[last])
    return _inputs(command.inputs, len(line.inputs), current)


def _values(leaf: Leaf | None) -> Iterable[str]:
    """Values of an option: of a `Literal`, or recipes."""
    if leaf is None:
        return ()
    return offered(RECIPES) if leaf.name == "recipe" else leaf.choices


def _inputs(usage: str, number: int, current: str) -> Iterable[str]:
    """The inputs of a command, which its usage names."""
    names = usage.split()
    several = len(names) == 1 and usage.endswith("...")
    kind = names[0].removesuffix("...") if several else "".join(names[number : number + 1])
    if kind == "RUN":
        return _runs(current)
    return {"RECIPE": offered(RECIPES), "SHELL": SCRIPTS}.get(kind, ())


def _runs(typed: str) -> Iterator[str]:
    """The runs in and below the folder that is typed; the nearest first."""
    from etude.run.folder import is_run

    around = typed[: typed.rfind("/") + 1]
    waiting = deque([(around, 0)])
    for _ in range(FOLDERS):
        if not waiting:
            return
        folder, depth = waiting.popleft()
        for name in _folders(Path(folder or ".").expanduser()):
            place = f"{folder}{name}"
            if not (place.startswith(typed) and name[0] != "."):
                continue
            if is_run(Path(place).expanduser()):
                yield place
            elif depth < DEPTH:
                waiting.append((f"{place}/", depth + 1))


def _folders(place: Path) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:  # absent, or not to be read: nothing to offer
        return []


def _joined(words: Sequence[str]) -> tuple[list[str], str]:
    """The words that Bash took apart; the beginning of the last one that it does not replace.

    >>> _joined(["resume", "--changes", "=", "al"])
    (['resume', '--changes=al'], '--changes=')
    """
    found: list[str] = []
    behind = ""
    for word, before in zip(words, ["", *words], strict=False):
        if found and word in ("=", ":"):
            found[-1] += word
            behind = found[-1]
        elif before in ("=", ":"):
            found[-1] += word
        else:
            found.append(word)
            behind = ""
    return found, behind
