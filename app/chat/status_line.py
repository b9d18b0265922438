"""One line about the device and its memory."""

from html import escape
from pathlib import Path

import torch
from gradio.context import LocalContext

from ..shared.sessions import Sessions


def describe(sessions: Sessions) -> str:
    """For who asks: who answers and how closely it looks, on which device, and all talks' memory.

    Args:
        sessions: of all visitors.
    """
    request = LocalContext.request.get(None)
    session = sessions.peek(str(request.session_hash) if request else "")
    groma = sessions.answering(session)
    parameter = next(groma.model.parameters())
    kind = str(parameter.dtype).removeprefix("torch.")
    if parameter.is_cuda:
        place = torch.cuda.get_device_name(parameter.device)
        used = torch.cuda.memory_allocated(parameter.device)
    else:
        place, used = parameter.device.type.upper(), _resident_bytes()
    memory = f", {used / 1e9:.1f} GB in use" if used else ""
    adapter = escape(session.adapter)
    answers = f"Your chat is answered by the adapter {adapter}. " if adapter else ""
    if session.conversation is not None:
        tiles = groma.tiles_per_side(session.conversation.image_size, session.detail)
        if tiles > 1:
            answers += f"Your picture is looked at in {tiles} x {tiles} tiles as well. "
    return f"{answers}{place}, {kind}{memory}; talks hold {sessions.num_bytes / 1e6:.0f} MB."


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * 4096 if file.is_file() else 0
