"""Machine faults from vibration: bearings, signals, physics that trains, and splits that hold."""
