//! Reverse-mode autodiff on a tape: tensors, variables, higher derivatives.
