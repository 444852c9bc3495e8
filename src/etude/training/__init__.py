"""What the trainer's loop is made of: visits to phases, pace, signals, records."""
