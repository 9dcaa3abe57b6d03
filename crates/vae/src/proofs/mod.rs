//! What is known exactly.

mod linear;
mod parts;
