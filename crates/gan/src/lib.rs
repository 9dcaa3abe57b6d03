//! Generative adversarial networks.
