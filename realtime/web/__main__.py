"""Shows the page that recognizes expressions in the browser. `python -m realtime.web --help`."""

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from fer_tf.card import EXCLUDED_USES
from fer_tf.command import Parser, command
from fer_tf.realtime.options import model_file
from fer_tf.realtime.web.export import write_site
from fer_tf.realtime.web.server import address_of, open_server
from fer_tf.realtime.web.site import DEFAULT_MODEL, files
from fer_tf.recognizer import Recognizer


@command
def main(argv: list[str] | None = None) -> None:
    """Serves the page until Ctrl-C, or writes it to a folder."""
    arguments = _parse(argv)
    Recognizer(arguments.model)  # says what is wrong with it
    table = files(arguments.model)
    if arguments.export:
        count = write_site(table, arguments.export)
        print(f"{arguments.export}: {count} files; serve this folder from any host, by https")
        return
    with open_server(table, arguments.port) as server:
        address = address_of(server)
        print(f"{address} (Ctrl-C ends)", flush=True)
        if not arguments.no_browser and not _open_browser(address):
            print("note: no browser could be opened; open this address in one on this machine", file=sys.stderr)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        "realtime.web",
        description="Recognize expressions in the browser: camera, pictures and videos. The page comes from this "
        "machine and runs on it; no picture leaves it.",
        epilog=EXCLUDED_USES,
    )
    help_text = f"model file or name (default: {DEFAULT_MODEL.stem})"
    parser.add_argument("--model", type=model_file, default=DEFAULT_MODEL, metavar="MODEL", help=help_text)
    parser.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1 (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    help_text = "write the page as a static site to this folder, and serve nothing"
    parser.add_argument("--export", type=Path, metavar="DIR", help=help_text)
    return parser.parse_args(argv)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected a whole number from 1 to 65535")
    return int(text)


def _open_browser(address: str) -> bool:
    """Opens the default browser; returns whether there is one."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # webbrowser would start one in the terminal
    return webbrowser.open(address)


if __name__ == "__main__":
    raise SystemExit(main())
