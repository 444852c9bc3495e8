"""The one reader of YAML that users write: what can be misunderstood is refused.

PyYAML reads YAML 1.1, where `yes` is a boolean, `1:30` is ninety and `0100` is sixty-four, takes
the last of two equal keys, and follows aliases without end. Here `yes`, `no`, `on` and `off` and
`1:30` are texts, and the rest is an error. What `yaml.safe_dump` writes is read as it was.

>>> read_yaml("{seed: 1, note: yes}")
{'seed': 1, 'note': 'yes'}
>>> read_yaml("labels: 010")
Traceback (most recent call last):
etude.yaml_reader.YamlError: line 1, column 9: 010 is octal. Write 10 or 8, or '010' for a text
"""

import re
from typing import Any

import yaml

#: Values that aliases may add to a text.
EXPANSION = 100_000

_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


class YamlError(ValueError):
    """A text that is no YAML, or that can be misunderstood; says where and the cure."""


def read_yaml(text: str) -> Any:
    """The value of a YAML text; None if it is empty.

    Raises YamlError for bad syntax, a key that is given twice, a number with a leading zero, an
    alias that contains itself, and aliases that multiply to more than `EXPANSION` values.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        raise YamlError(f"{_place(error.problem_mark or error.context_mark)}{said}") from None
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None
    except (ValueError, TypeError, LookupError) as error:  # as of the date 2020-13-45
        raise YamlError(f"a value cannot be read: {error}") from None
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, less what YAML 1.2 has dropped."""

    def __init__(self, text: str):
        try:
            super().__init__(text)
        except yaml.YAMLError as error:  # a character that YAML forbids
            raise YamlError(" ".join(str(error).split())) from None

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        tag = super().resolve(kind, value, implicit)
        dropped = tag == "tag:yaml.org,2002:bool" and not _BOOLEAN.fullmatch(value)
        base_sixty = tag in _NUMBERS and ":" in value
        return "tag:yaml.org,2002:str" if dropped or base_sixty else tag

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            keys = set()
            for key_node, _ in node.value:  # before keys are merged in, which may be overridden
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, list | dict | set):
                    raise _error(key_node, "a key is a text or a number, not a list or a mapping")
                if key in keys:
                    raise _error(key_node, f"{key!r} is given twice. Keep one of them")
                keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: Any) -> int:
        value = node.value
        if _OCTAL.fullmatch(value):
            meant = dict.fromkeys([int(value), self.construct_yaml_int(node)])
            numbers = " or ".join(map(str, meant))
            raise _error(node, f"{value} is octal. Write {numbers}, or {value!r} for a text")
        return self.construct_yaml_int(node)


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)


def _count(node: Any, sizes: dict[int, int]) -> int:
    """How many values a node has with all aliases written out; `sizes` by identity of the node.

    Linear in the text, whatever the aliases multiply to.
    """
    if id(node) in sizes:
        size = sizes[id(node)]
        if size == 0:
            raise _error(node, "it contains itself by an alias. Write its values out")
        return size
    sizes[id(node)] = 0  # under way
    inner: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [one for pair in node.value for one in pair]
    size = 1 + sum(_count(one, sizes) for one in inner)
    sizes[id(node)] = size
    if size > EXPANSION + len(sizes):
        raise _error(
            node, f"its aliases multiply to more than {EXPANSION} values. Write fewer of them"
        )
    return size


def _error(node: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _place(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
