# Used if it is there, and not installed for the checks.
from typing import Any

def display(*objs: Any, display_id: bool = False) -> Any: ...
