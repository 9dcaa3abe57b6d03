//! Block Gibbs sampling: all hidden units given the visible ones, then all visible units given
//! the hidden ones. G. E. Hinton 2002, "Training products of experts by minimizing contrastive
//! divergence", section 3.

use crate::machine::Path;
use crate::noise;
use grad::kernels::elementwise::{Unary, unary_in_place};
use nn::random::Stream;

/// Chains that run side by side, a row each, on the machines of a path.
pub struct Walk<'p> {
    path: &'p Path<'p>,
    /// The visible units, `[n, D]`.
    v: Vec<f32>,
    /// What reaches the hidden units; after a draw, the units. `[n, H]`.
    h: Vec<f32>,
    /// Each chain's place on the path.
    betas: Vec<f32>,
    streams: Vec<Stream>,
}

impl<'p> Walk<'p> {
    /// Chains from v `[n, D]` on, at beta = 1, with the noise of n streams.
    pub fn from(path: &'p Path<'p>, v: Vec<f32>, streams: Vec<Stream>) -> Walk<'p> {
        assert_eq!(
            v.len(),
            streams.len() * path.machine.visible(),
            "walk: a stream for each row"
        );
        Walk {
            h: vec![0.0; streams.len() * path.machine.hidden()],
            betas: vec![1.0; streams.len()],
            path,
            v,
            streams,
        }
    }

    /// Chains that begin with exact draws at beta = 0.
    pub fn from_base(path: &'p Path<'p>, streams: Vec<Stream>) -> Walk<'p> {
        let v = vec![0.0; streams.len() * path.machine.visible()];
        let mut walk = Walk::from(path, v, streams);
        walk.set_beta(0.0);
        walk.draw_visible();
        walk.set_beta(1.0);
        walk
    }

    /// Puts all chains at one place of the path.
    pub fn set_beta(&mut self, beta: f32) {
        self.betas.fill(beta);
    }

    /// Puts each chain at a place of its own.
    pub fn set_betas(&mut self, betas: &[f32]) {
        self.betas.copy_from_slice(betas);
    }

    /// The visible units.
    pub fn visible(&self) -> &[f32] {
        &self.v
    }

    /// The visible units, for writing.
    pub fn visible_mut(&mut self) -> &mut [f32] {
        &mut self.v
    }

    /// The visible units, without the chains.
    pub fn into_visible(self) -> Vec<f32> {
        self.v
    }

    /// What reaches the hidden units at beta = 1.
    pub fn hidden_inputs(&mut self) -> (&[f32], &[f32]) {
        self.path.machine.hidden_inputs(&self.v, &mut self.h);
        (&self.v, &self.h)
    }

    /// The same as known from elsewhere: what reaches the hidden units at beta = 1.
    pub fn set_hidden_inputs(&mut self, inputs: &[f32]) {
        self.h.copy_from_slice(inputs);
    }

    /// Draws the hidden units from what [`hidden_inputs`](Self::hidden_inputs) found.
    fn draw_hidden(&mut self) {
        let width = self.path.machine.hidden();
        for (row, &beta) in self.h.chunks_exact_mut(width).zip(&self.betas) {
            if beta != 1.0 {
                row.iter_mut().for_each(|a| *a *= beta);
            }
        }
        unary_in_place(Unary::Sigmoid, &mut self.h);
        noise::bernoulli(&mut self.h, width, &mut self.streams);
    }

    /// Puts the means of the visible units, given the hidden ones, in their place.
    fn means(&mut self) {
        self.path.machine.visible_inputs(&self.h, &mut self.v);
        self.path.visible_means(&mut self.v, &self.betas);
    }

    fn draw_visible(&mut self) {
        self.means();
        match self.path.machine.deviations() {
            None => noise::bernoulli(&mut self.v, self.path.machine.visible(), &mut self.streams),
            Some(deviations) => noise::gaussian(&mut self.v, deviations, &mut self.streams),
        }
    }

    /// Draws all units anew from what [`hidden_inputs`](Self::hidden_inputs) found.
    pub fn resample(&mut self) {
        self.draw_hidden();
        self.draw_visible();
    }

    /// One step: hidden units, then visible units.
    pub fn step(&mut self) {
        self.hidden_inputs();
        self.resample();
    }

    /// So many steps.
    pub fn steps(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.step());
    }

    /// The means of the visible units given hidden units that are drawn for this alone: the chains
    /// stay where they are, but not their noise. `[n, D]`.
    pub fn means_after_half_a_step(&mut self) -> Vec<f32> {
        self.hidden_inputs();
        self.draw_hidden();
        let mut means = vec![0.0; self.v.len()];
        self.path.machine.visible_inputs(&self.h, &mut means);
        self.path.visible_means(&mut means, &self.betas);
        means
    }

    /// The means of the visible units after half a step more: `[n, D]`. The chains go no further.
    pub fn into_means(mut self) -> Vec<f32> {
        self.hidden_inputs();
        self.draw_hidden();
        self.means();
        self.v
    }
}
