"""One line about the device and its memory."""

from html import escape
from pathlib import Path

import torch
from gradio.context import LocalContext

from app.state import Sessions


def describe(model: torch.nn.Module, sessions: Sessions) -> str:
    """Device, number type, memory, what visitors hold of it, and the adapter of who asks.

    Args:
        model: the loaded model.
        sessions: of all visitors.
    """
    parameter = next(model.parameters())
    kind = str(parameter.dtype).removeprefix("torch.")
    if parameter.is_cuda:
        place = torch.cuda.get_device_name(parameter.device)
        used = torch.cuda.memory_allocated(parameter.device)
    else:
        place, used = "CPU", _resident_bytes()
    memory = f", {used / 1e9:.1f} GB in use" if used else ""
    request = LocalContext.request.get(None)
    adapter = sessions.adapter(str(request.session_hash)) if request else ""
    answers = f"Your chat is answered by the adapter {escape(adapter)}. " if adapter else ""
    return f"{answers}{place}, {kind}{memory}; talks hold {sessions.num_bytes / 1e6:.0f} MB."


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * 4096 if file.is_file() else 0
