"""The page's scripts: ES modules that are served as they lie, and what starts them."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).parents[1]


class _Scripts(StaticFiles):
    """Of the application's folder, its scripts alone."""

    def lookup_path(self, path: str) -> tuple:
        return super().lookup_path(path) if path.endswith(".js") else ("", None)


def script_route() -> Mount:
    """Where browsers find the scripts."""
    return Mount(f"/{_address()}", _Scripts(directory=_FOLDER))


def starting(script: str, *events: str) -> str:
    """JavaScript for `js_on_load` that hands a component to the function `start` of a module.

    Args:
        script: its place in the application's folder.
        events: that it triggers; Gradio listens for those that are named here.
    """
    names = ", ".join(f'"{event}"' for event in events)
    return (
        f"// It triggers {names}.\n"
        f"import(`${{window.gradio_config.root}}/{_address()}/{script}`)"
        ".then(({ start }) => start({ element, trigger, props, upload, watch }));"
    )


def first_script() -> str:
    """What must run before a page's own scripts; for its head."""
    return (_FOLDER / "shared" / "composing.js").read_text("utf-8")


@cache
def _address() -> str:
    """Another one for other scripts, so that no browser goes on with old ones."""
    content = b"".join(file.read_bytes() for file in sorted(_FOLDER.rglob("*.js")))
    return f"groma-{sha256(content).hexdigest()[:12]}"
