"""Prints the audit of a data set: `python -m fer_tf.fer2013 [PATH]`."""

from fer_tf.command import Parser, command
from fer_tf.fer2013 import find, load
from fer_tf.fer2013.audit import audit
from fer_tf.fer2013.labels import HELP


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the audit of a data set."""
    parser = Parser("fer_tf.fer2013", description="Print an audit of FER-2013 or a folder like it.")
    parser.add_argument("path", nargs="?", help="zip, tar, folder or CSV (default: $FER2013, data/fer2013.zip)")
    parser.add_argument("--classes", nargs="+", metavar="NAME=CLASS", help=HELP)
    arguments = parser.parse_args(argv)
    print(audit(load(find(arguments.path), classes=arguments.classes)))


if __name__ == "__main__":
    raise SystemExit(main())
