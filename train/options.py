"""The command line of `train.run`, made from the fields of `Settings`."""

import argparse
import math
from collections.abc import Callable
from dataclasses import Field
from typing import Any, get_args, get_origin

from fer_tf.catalogue import ARCHITECTURES
from fer_tf.command import Parser
from fer_tf.errors import UserError
from fer_tf.train.settings import OPTIONS, Range, flag, types_of

DATA_HELP = "zip, tar, folder or CSV (default: $FER2013, data/fer2013.zip, ../shared/data/fer2013.zip)"

_OF_RECIPES = {name for architecture in ARCHITECTURES.values() for name in architecture.recipe}


def create_parser() -> Parser:
    """Returns the parser of `train.run`: an option for each setting, `--data`, `--output` and `--resume`."""
    parser = Parser(
        "train.run",
        usage="%(prog)s [options]",
        description="Train a network on FER-2013, or on your own face crops in class folders. PrivateTest is not used.",
        epilog="Exit codes: 0 done, 2 wrong input, 130 interrupted (continue with --resume).",
    )
    folder = parser.add_argument_group("run folder")
    folder.add_argument("--output", metavar="DIR", help="run folder (default: runs/<time>-<model>-<dataset>)")
    folder.add_argument("--resume", metavar="DIR", help="continue the run in this folder; needs no other option")
    groups = {}
    for name, setting in OPTIONS.items():
        title = setting.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
            if len(groups) == 1:
                groups[title].add_argument("--data", metavar="PATH", help=DATA_HELP)
        add_option(groups[title], name)
    return parser


def add_option(parser: argparse._ActionsContainer, name: str) -> None:
    """Adds the option of a setting, whose default is None: not given."""
    setting = OPTIONS[name]
    choices, within = setting.metadata["choices"], setting.metadata["within"]
    kind, *_ = types_of(name)
    keywords: dict[str, Any] = {"metavar": setting.metadata["metavar"] or "NAME", "help": _help(setting)}
    if get_origin(kind) is dict:
        keywords |= {"nargs": "+", "type": _named_number, "action": _AsDict}
    elif get_origin(kind) is list:
        keywords["nargs"] = "+"
        (kind,) = get_args(kind)
    if kind in (int, float):
        keywords["type"] = number(kind, within)
    parser.add_argument(flag(name), choices=choices or None, **keywords)


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that were given on the command line, by name."""
    return {name: arguments[name] for name in OPTIONS if arguments[name] is not None}


def check_needs(values: dict[str, Any]) -> None:
    """Raises `UserError` if a setting of a new run is given without the one that it needs."""
    for name, value in values.items():
        needed = OPTIONS[name].metadata["needs"]
        if needed and value and needed not in values:
            raise UserError(f"{flag(name)} needs {flag(needed)}; add it, or leave {flag(name)} out")


def number(kind: type, within: Range) -> Callable[[str], int | float]:
    """Returns an argparse type for the numbers of a range."""

    def convert(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value not in within:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' * (kind is int)}number {within}")
        return value

    return convert


def _help(setting: Field) -> str:
    """Returns a setting's help with its choices and its default."""
    default = "the network's recipe" if setting.name in _OF_RECIPES else setting.default
    if isinstance(default, float):
        default = f"{default:g}"
    parts = [", ".join(setting.metadata["choices"]), "" if default is None else f"default: {default}"]
    told = "; ".join(part for part in parts if part)
    return setting.metadata["help"] + (f" ({told})" if told else "")


def _named_number(text: str) -> tuple[str, float]:
    """An argparse type for a named number."""
    name, _, value = text.partition("=")
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not (name and math.isfinite(found)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    return name, found


class _AsDict(argparse.Action):
    """Makes a dict of named numbers."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, dict(values))
