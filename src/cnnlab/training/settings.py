"""Settings that are written as ``key: value``: validated, changed by ``key=value`` texts, errors in one sentence.

Every kind of recipe is a subclass that declares its keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo

from cnnlab.errors import RecipeError, did_you_mean
from cnnlab.hardware import DEVICE_NAME
from cnnlab.training.yaml_text import parse_yaml, write_yaml


def _device_spelling(value: str) -> str:
    if not DEVICE_NAME.fullmatch(value):
        raise ValueError(f'expected auto, cpu, cuda, cuda:N or mps, got "{value}"')
    return value


DeviceName = Annotated[str, AfterValidator(_device_spelling)]
"""The type of a key that names the device to run on."""

FREE = {"seed", "device", "data_dir", "keep_epochs", "process_timeout"}
"""The keys that may change without changing what a recipe is about."""


class Settings(BaseModel):
    """The base of recipes.

    Raises:
        RecipeError: a key is unknown, or a value has the wrong type or is out of range; the message names the key, the
            value and the nearest known key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    #: a sentence that says how to see the keys
    keys_hint: ClassVar[str] = "`cnnlab recipes --keys` lists them."

    @model_validator(mode="wrap")
    @classmethod
    def _with_plain_errors(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            settings = validate(values)
        except ValidationError as error:
            raise RecipeError(cls._explain(error)) from None
        try:
            settings.check_consistency()
        except ValueError as error:
            raise RecipeError(f"{error}.") from None
        return settings

    def check_consistency(self) -> None:
        """Refuse values that do not go together; pydantic's own validators of a subclass would run too late.

        Raises:
            ValueError: what is wrong, in words without a full stop.
        """

    @classmethod
    def make(cls, values: dict[str, Any], source: str = "recipe") -> Self:
        """Validate ``values``; ``source`` is named in the message when they are wrong."""
        try:
            return cls.model_validate(values)
        except RecipeError as error:
            raise RecipeError(f"{source}: {error}") from None

    def values(self) -> dict[str, Any]:
        """The plain values, as they are written to YAML."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return every value as YAML text."""
        return write_yaml(self.values())

    def with_overrides(self, overrides: Iterable[str] = (), **options: Any) -> Self:
        """Return a recipe with ``key=value`` texts applied, and then ``options``, whose values are taken as they are.

        It reproduces nothing any more, unless only :data:`FREE` keys changed.

        Raises:
            RecipeError: a key is unknown, or a value has the wrong type or is out of range.
        """
        before = self.values()
        values = self.apply_overrides(before, overrides) | options
        if {key for key in values if values[key] != before[key]} - FREE:
            values |= {"reproduces": ""}
        return self.make(values, "override")

    @classmethod
    def apply_overrides(cls, values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
        """Return a copy of ``values`` with ``key=value`` texts applied; values are YAML, dots reach into groups.

        Raises:
            RecipeError: a text without ``=``, an unknown key, or a dotted key into something that is no group.
        """
        result = dict(values)
        for text in overrides:
            key, equals, raw = text.partition("=")
            if not equals or not key:
                raise RecipeError(f'"{text}" is not an override: write key=value, for example epochs=5.')
            *groups, last = [part.strip() for part in key.lstrip("-").split(".")]
            if (first := [*groups, last][0]) not in cls.model_fields:
                near = did_you_mean(first, cls.model_fields)
                raise RecipeError(f'There is no recipe key "{first}". {near or cls.keys_hint}')
            node = result
            for group in groups:
                inner = node.get(group)
                if inner in (None, "none"):
                    inner = {}
                if not isinstance(inner, dict):
                    raise RecipeError(f'"{key}": {group} is a single value; write {key.partition("." + last)[0]}=...')
                node[group] = dict(inner)
                node = node[group]
            node[last] = parse_yaml(raw, text) if raw else ""
        return result

    @classmethod
    def describe_keys(cls) -> list[tuple[str, str, str]]:
        """Return the name, the default and the meaning of every key, those of groups one by one."""
        defaults, rows = cls().values(), []
        for key, field in cls.model_fields.items():
            inner_fields = _group_fields(field)
            rows.append((key, "" if inner_fields else str(defaults[key]), field.description or ""))
            for name, inner in inner_fields.items():
                rows.append((f"{key}.{name}", str(defaults[key][name]), inner.description or ""))
        return rows

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        """Turn the first pydantic error into one sentence with the nearest name."""
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key = ".".join(path)
        if first["type"] == "extra_forbidden":
            names = cls.model_fields if len(path) == 1 else _group_fields(cls.model_fields[path[0]])
            return f'there is no key "{key}". {did_you_mean(path[-1], names)}'.strip()
        if first["type"] == "literal_error":
            choices = first["ctx"]["expected"]
            near = did_you_mean(str(first["input"]), re.findall(r"'([^']*)'", choices))
            return f"{key}: expected {choices}, got {first['input']!r}. {near}".strip()
        if first["type"] == "tuple_type":
            return f"{key}: expected a list such as [{first['input']}], got {first['input']!r}."
        message = first["msg"].removeprefix("Value error, ")
        message += "" if first["type"] == "value_error" else f", got {first['input']!r}"
        message += "" if message[-1] in ".?" else "."
        return f"{key}: {message}" if key else message


def _group_fields(field: FieldInfo) -> dict[str, FieldInfo]:
    """Return the keys of a group of settings; none for a single value."""
    fields: dict[str, FieldInfo] = getattr(field.annotation, "model_fields", {})
    return fields
