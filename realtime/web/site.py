"""The files of the page, and the headers that they are sent with."""

from pathlib import Path

from fer_tf import weights

DEFAULT_MODEL = weights.DEFAULT_MODEL.with_name(f"{weights.DEFAULT_MODEL.stem}-int8.onnx")
"""The page's default: half the size of the toolkit's, and the fastest in WebAssembly."""

_PAGE = Path(__file__).parent / "page"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
"""Media types by suffix. What is packed is sent as it is, and unpacked by the page, whatever a host does with it."""

# The page has a policy of its own, for hosts that send none; a browser obeys both. WebAssembly needs its word there.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    # Both together isolate the page, which is what browsers demand for threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Sent with every file."""


def files(model: Path) -> dict[str, Path]:
    """Returns every file of the page by its address.

    Args:
        model: The model file that the page starts with.
    """
    table = {path.relative_to(_PAGE).as_posix(): path for path in sorted(_PAGE.rglob("*")) if path.suffix in TYPES}
    detector = weights.FACE_DETECTOR
    licenses = {"detector.LICENSE.txt": detector.with_suffix(".LICENSE")}
    return table | licenses | {"detector.onnx": detector, "model.onnx": model}
