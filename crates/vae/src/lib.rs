//! Autoencoders and variational autoencoders.
