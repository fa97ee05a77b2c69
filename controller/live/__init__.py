"""The terminal view: progress while a stack starts, then one frame per tick."""

from controller.live.startup import StepStatus, render_startup
from controller.live.state import LiveState
from controller.live.view import render

__all__ = ["LiveState", "StepStatus", "render", "render_startup"]
