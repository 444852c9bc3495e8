from optax.contrib._ademamix import ademamix as ademamix
from optax.contrib._muon import muon as muon
from optax.contrib._reduce_on_plateau import reduce_on_plateau as reduce_on_plateau
