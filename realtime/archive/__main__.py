"""Labels archives of video on many processors or machines. `python -m realtime.archive --help`."""

import argparse
from pathlib import Path
from typing import Any

from fer_tf.card import EXCLUDED_USES
from fer_tf.command import Parser, command, positive
from fer_tf.files import check_writable
from fer_tf.realtime.options import add_recognition, add_video


@command
def main(argv: list[str] | None = None) -> int:
    """Labels what is not labeled yet."""
    arguments, options = _parse(argv)
    from fer_tf.realtime.archive.job import carry_out  # what it needs comes with an extra

    return carry_out(arguments, options)


def _parse(argv: list[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Returns all options, and those about recognition, which the workers get."""
    parser = Parser(
        "realtime.archive",
        description="Label facial expressions in many files, on all processors or on a cluster. Give the same command "
        "again to go on where it ended. docs/cluster.md says more.",
        epilog=EXCLUDED_USES,
    )
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="file, folder, glob pattern, or an address such as s3://bucket/videos",
    )
    help_text = "folder or address for the tables (Parquet), failures.csv and summary.json"
    parser.add_argument("--output", required=True, metavar="DIR", help=help_text)
    parser.add_argument("--recursive", action="store_true", help="take folders below folders, too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write all rows as one table at the end")
    parser.add_argument("--retry-failed", action="store_true", help="label again what failed before")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    add = parser.add_argument_group("workers").add_argument
    add("--workers", type=positive(), metavar="N", help="number of workers (default: one for each processor)")
    add("--address", metavar="HOST:PORT", help="head of a Ray cluster (default: this machine alone)")
    group, names = parser.add_argument_group("detection and recognition"), []

    def add_named(*flags: str, **settings: Any) -> None:
        names.append(group.add_argument(*flags, **settings).dest)

    add_recognition(add_named)
    add_video(add_named)
    arguments = parser.parse_args(argv)
    if arguments.csv:
        check_writable(arguments.csv)
    return arguments, {name: getattr(arguments, name) for name in names}


if __name__ == "__main__":
    raise SystemExit(main())
