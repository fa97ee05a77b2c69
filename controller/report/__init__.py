"""What happened in a run: JSON and a self-contained HTML page."""

from controller.report.write import write_report

__all__ = ["write_report"]
