"""What one replica carries: an iteration-time model learned from counters, and how full it may be planned."""

from controller.planner.capacity.estimate import capacity, full_load_of, is_learning, with_work
from controller.planner.capacity.learn import Experience, learn
from controller.planner.capacity.work import WORK_SIGNALS, work_history, work_rate

__all__ = [
    "WORK_SIGNALS",
    "Experience",
    "capacity",
    "full_load_of",
    "is_learning",
    "learn",
    "with_work",
    "work_history",
    "work_rate",
]
