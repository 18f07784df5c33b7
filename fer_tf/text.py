"""Makes text that others wrote safe to show: names without control characters, addresses without secrets."""

import re

_SECRET = re.compile(
    r"([\w.%-]*(?:token|secret|auth|credential|passw|passphrase|pwd|signature|hmac|jwt|session|key|(?<!by)pass"
    r"|(?<![a-z])sig|pas(?==))[\w.%-]*)=[^&;]+",
    re.IGNORECASE,
)
"""A key that looks like a secret's, and its value."""

_LONGEST = 1000
"""Characters of a message; what was found in a file may have any length."""

_OF_MARKDOWN = re.compile(
    r"[\\`*\[\]<>&~#$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # but not inside a word, where it means nothing
    r"|:(?=//)|(?<=\S)@(?=\S)|(?<=www)\."  # addresses become links by themselves
    r"|^(?: |[-+](?=\s|$)|[-=](?=[-= ]*$)|\d(?=\d*[.)](?:\s|$)))",  # code, lists, rules and headings
    re.IGNORECASE,
)
"""Characters that mean something in Markdown."""


def printable(text: str) -> str:
    r"""Returns text on one line that a terminal shows as it is.

    Control characters, line breaks, characters that change the direction of writing, and bytes that are not UTF-8
    become escape sequences such as `\x1b`.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def markdown(text: str, *, code: bool = False) -> str:
    """Returns text that others wrote as Markdown on one line that shows it as it is, after `printable`.

    What means something becomes a character reference, such as `&#42;`, which every dialect shows and none obeys. A
    table's cell needs its | escaped, too.

    Args:
        text: The text.
        code: Whether to show it as code.
    """
    text = printable(text)
    if not code:
        return _OF_MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def one_line(message: str) -> str:
    """Returns a message on one line, printable and without secrets; of a very long one, the beginning and the end."""
    line = printable(without_secrets(" ".join(message.split())))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def without_secrets(text: str) -> str:
    """Returns text in which addresses have no credentials, for messages."""
    return re.sub(r"(?i)\b[a-z][a-z0-9+.-]*://[^\s'\"]*", lambda match: address_name(match[0]), text)


def address_name(address: str) -> str:
    """Returns an address without its credentials, for logs, tables and names of files.

    What is before an @ is removed. The value of a key that looks like a secret's, such as `token` or `password`, is
    masked up to the next & or ; or the end.
    """
    scheme, separator, rest = address.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    # A password may have a / or ? in it, and then the host seems to end there: in `user:pass/word@host`.
    is_host = "@" not in host and re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:\d*)?", host)
    end = host.rfind("@") if "@" in host else -1 if is_host else rest.rfind("@")
    return scheme + separator + _SECRET.sub(r"\1=***", rest[end + 1 :])
