//! Autoregressive generative models with exact likelihoods.
