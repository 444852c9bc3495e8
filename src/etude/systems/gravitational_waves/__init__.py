"""Gravitational waves: an encoder, a bridge to spikes, and a spiking classifier."""
