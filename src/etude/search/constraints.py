"""Which settings of a space may be tried: an expression over names, or a function.

>>> Expression("width * depth <= 256").holds({"width": 64, "depth": 4})
True
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

from etude.errors import ConfigurationError, suggest

#: All that an expression may be made of: no call, no index, no power (9**9**9 never ends).
READ = (
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
    *(ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.IfExp),
)


@dataclass(frozen=True)
class Expression:
    """Names, numbers, texts and lists, + - * / // %, comparisons, `in`, `and`, `or`, `not`.

    A dot leads into a group: `optimizer.lr < 0.1`. Raises `ConfigurationError` for a text that
    is none.
    """

    text: str

    def __post_init__(self):
        self._code  # noqa: B018, an expression that cannot be read is refused at once

    def check(self, known: Mapping[str, Any]) -> list[str]:
        """A sentence for each name that is not known."""
        return [
            f"The constraint {self.text!r}: there is no {name!r}. {suggest(name, known)}"
            for name in sorted(set(self._code.co_names) - set(known))
        ]

    def holds(self, setting: Mapping[str, Any]) -> bool:
        """Whether it is true of a setting, by dotted names.

        Raises `ConfigurationError` if it cannot be computed, as a text that is divided by 2.
        """
        try:
            return bool(eval(self._code, {"__builtins__": {}}, dict(setting)))
        except (TypeError, NameError, ValueError, ArithmeticError) as error:
            raise ConfigurationError(
                f"The constraint {self.text!r} cannot be computed of {dict(setting)}: {error}."
            ) from None

    @cached_property
    def _code(self) -> CodeType:
        try:
            tree = _Dotted().visit(ast.parse(self.text.strip(), mode="eval"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ConfigurationError(
                f"The constraint {self.text!r} is no expression; write one such as 'width <= 64'."
            ) from None
        for node in ast.walk(tree.body):
            if not isinstance(node, READ):
                shown = ast.unparse(node) or type(node).__name__
                raise ConfigurationError(
                    f"The constraint {self.text!r} holds {shown!r}; it is made of names, numbers, "
                    "texts, lists, + - * / // %, comparisons, in, and, or, not."
                )
        return compile(ast.fix_missing_locations(tree), "<constraint>", "eval")


class _Dotted(ast.NodeTransformer):
    """Makes one name of `optimizer.lr`."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        inner = self.visit(node.value)
        return ast.Name(f"{inner.id}.{node.attr}", ast.Load()) if _is_name(inner) else node


def _is_name(node: Any) -> bool:
    return isinstance(node, ast.Name)


Constraint = str | Expression | Callable[[Mapping[str, Any]], bool]


def unreadable(constraints: Iterable[Constraint], known: Mapping[str, Any]) -> list[str]:
    """Sentences about constraints that are no expressions of known names.

    >>> unreadable(["widht < 3"], {"width": 1})
    ["The constraint 'widht < 3': there is no 'widht'. Did you mean 'width'?"]
    """
    problems: list[str] = []
    for one in constraints:
        try:
            one = Expression(one) if isinstance(one, str) else one
            if not isinstance(one, Expression) and not callable(one):
                problems.append(f"A constraint is an expression or a function; got {one!r}.")
            problems += one.check(known) if isinstance(one, Expression) else []
        except ConfigurationError as error:
            problems.append(str(error))
    return problems


def allowed(constraints: Iterable[Constraint], setting: Mapping[str, Any]) -> bool:
    """Whether a setting satisfies all constraints.

    Raises `ConfigurationError` if one cannot be computed.

    >>> allowed(["a < b", lambda setting: setting["b"] > 0], {"a": 1, "b": 2})
    True
    """
    for one in constraints:
        if isinstance(one, str):
            one = Expression(one)
        if not (one.holds(setting) if isinstance(one, Expression) else _called(one, setting)):
            return False
    return True


def _called(function: Callable[[Mapping[str, Any]], bool], setting: Mapping[str, Any]) -> bool:
    try:
        return bool(function(setting))
    except Exception as error:
        name = getattr(function, "__qualname__", repr(function))
        raise ConfigurationError(
            f"The constraint {name} cannot be computed of {dict(setting)}: "
            f"{type(error).__name__}: {error}."
        ) from error
