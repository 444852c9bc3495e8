"""The base of the typed configurations: frozen, strict about names, errors that say the cure."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from etude.kinds import is_mapping, parts_of


class Config(BaseModel, frozen=True):
    """A frozen configuration that refuses unknown fields and suggests what was meant.

    Subclasses list in `cures` what to write instead of names that other libraries use. Every
    problem of a configuration is reported in one `pydantic.ValidationError` (a `ValueError`).

    >>> class Kiln(Config):
    ...     temperature: float = 1.0
    >>> Kiln(temperature=2).temperature
    2.0
    >>> Kiln(temprature=2)
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Kiln
    temprature
      unknown field; did you mean 'temperature'? [type=unknown_field, input_value=2, input_type=int]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cures: ClassVar[dict[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: Any) -> Any:
        try:
            return handler(cls._without_booleans_for_numbers(data))
        except ValidationError as error:
            problems = error.errors()
            # A wrong element is not counted, so that its list may seem too short.
            lists = {problem["loc"][:-1] for problem in problems}
            details = [
                cls._detail(problem)
                for problem in problems
                if problem["type"] != "too_short" or problem["loc"] not in lists
            ]
            raise ValidationError.from_exception_data(error.title, details) from None

    @classmethod
    def _without_booleans_for_numbers(cls, data: Any) -> Any:
        """The data, with a text, which is refused, where `epochs: true` would be one epoch."""
        if not is_mapping(data):
            return data
        return {
            name: str(value).lower() if isinstance(value, bool) and cls._counts(name) else value
            for name, value in data.items()
        }

    @classmethod
    def _counts(cls, name: str) -> bool:
        """Whether a field takes numbers and no booleans."""
        kinds = set(parts_of(cls.model_fields[name].annotation)) if name in cls.model_fields else ()
        return bool not in kinds and not {int, float}.isdisjoint(kinds)

    @classmethod
    def _detail(cls, problem: Any) -> InitErrorDetails:
        field = str(problem["loc"][-1]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            kind, message = "unknown_field", f"unknown field; {cls._cure(field)}"
        elif problem["type"] == "literal_error":
            expected = problem["ctx"]["expected"]
            near = near_match(str(problem["input"]), expected.replace("'", "").split(" or "))
            kind, message = "unknown_name", f"expected {expected}{near}"
        else:
            kind, message = problem["type"], problem["msg"]
        # Doubled braces: pydantic formats the message with the (empty) context.
        wording = PydanticCustomError(kind, message.replace("{", "{{").replace("}", "}}"))  # pyright: ignore[reportArgumentType]
        return InitErrorDetails(type=wording, loc=problem["loc"], input=problem["input"])

    @classmethod
    def _cure(cls, field: str) -> str:
        if field in cls.cures:
            return cls.cures[field]
        near = get_close_matches(field, cls.model_fields, n=1, cutoff=0.5)
        if near:
            return f"did you mean '{near[0]}'?"
        return "known fields: " + ", ".join(cls.model_fields)


def _folder(path: Path) -> Path:
    there = _nearest(path)
    if not there.is_dir():
        raise ValueError(f"a folder is written, and {there} is a file: give another name")
    return path


def _file(path: Path) -> Path:
    there = _nearest(path)
    if there == path and there.is_dir():
        raise ValueError(f"a file is written, and this is a folder: name one in it, {path}/NAME")
    if there not in (path, path.parent) or not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}: make it, or give another name")
    return path


def _nearest(path: Path) -> Path:
    """What is there of a path: itself, or the nearest of the folders around it."""
    try:
        if path.is_symlink() and not path.exists():
            raise ValueError("this is a link to nothing: give another name")
        return next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise ValueError(f"{error.strerror}: give another name") from None


OutputFolder = Annotated[Path, AfterValidator(_folder)]
"""The name of a folder that is written; refused where a file is in its way."""

OutputFile = Annotated[Path, AfterValidator(_file)]
"""The name of a file that is written; refused where it is a folder, or its folder is absent."""


def near_match(name: str, known: list[str]) -> str:
    """A sentence that suggests the nearest known name, or nothing.

    >>> near_match("cosin", ["cosine", "linear"])
    "; did you mean 'cosine'?"
    >>> near_match("zzz", ["cosine", "linear"])
    ''
    """
    candidates = [part for names in known for part in names.split(", ")]
    near = get_close_matches(name, candidates, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def refuse(component: str, problems: list[str]) -> None:
    """Raise one `ValueError` that lists every problem, or return if there is none.

    >>> refuse("SchedulerConfig", [])
    """
    if problems:
        raise ValueError(f"{component}: " + "; ".join(problems))
