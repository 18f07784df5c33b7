"""Prints the audit of a data set: `python -m fer_tf.fer2013 [PATH]`."""

from fer_tf.command import Parser, command
from fer_tf.fer2013 import find, load
from fer_tf.fer2013.audit import audit


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the audit of a data set."""
    parser = Parser("fer_tf.fer2013", description="Print an audit of FER-2013 or a folder like it.")
    parser.add_argument("path", nargs="?", help="zip, folder or CSV (default: $FER2013, data/fer2013.zip)")
    print(audit(load(find(parser.parse_args(argv).path))))


if __name__ == "__main__":
    raise SystemExit(main())
