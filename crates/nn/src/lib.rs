//! Layers, masks, distributions, optimisers and parameters on top of grad.
