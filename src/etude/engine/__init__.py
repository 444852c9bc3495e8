"""The engine: pure and compiled; it touches no file and no clock, and knows no domain."""
