//! A restricted Boltzmann machine: visible units on one side, hidden units on the other, and
//! connections between the sides only. P. Smolensky 1986; M. Welling et al. 2004 for Gaussian
//! units.
//!
//! ```text
//! E(v, h) = -v W h - b v - c h                                  visible units in {0, 1}
//! E(v, h) = sum_i (v_i - b_i)^2 / (2 s_i^2) - (v / s) W h - c h   Gaussian visible units
//! p(v, h) = e^(-E(v, h)) / Z                                    h in {0, 1}
//!
//! F(v) = -log sum_h e^(-E(v, h)),   p(v) = e^(-F(v)) / Z
//! ```
//!
//! Between the machine and one whose answers are known lies a path of machines, beta from 0 to 1:
//! annealed importance sampling goes along it, and parallel tempering runs chains on it
//! ([`Path`]).

use grad::Tensor;
use grad::kernels::elementwise::{Unary, scale, unary, unary_in_place};
use grad::kernels::gemm::{Beta, Epilogue, Mat, PackedB, gemm, gemm_packed};
use grad::kernels::reduce::dot;

/// The numbers of a machine, for whoever samples it or sums over it.
pub struct Machine {
    /// W with the scale of the visible units taken out, for hidden inputs: `[D, H]`.
    up: Tensor<f32>,
    /// W with the scale of the visible units put in, for visible means: `[D, H]`.
    down: Tensor<f32>,
    /// b, `[D]`.
    visible_bias: Tensor<f32>,
    /// c, `[H]`.
    hidden_bias: Tensor<f32>,
    /// s of Gaussian visible units, `[D]`.
    deviations: Option<Tensor<f32>>,
    /// `up` and the transpose of `down` as products want them, where many are to come.
    packed: Option<[PackedB<f32>; 2]>,
}

impl Machine {
    /// With visible units in {0, 1}: weight `[D, H]`, biases `[D]` and `[H]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn binary(
        weight: &Tensor<f32>,
        visible_bias: &Tensor<f32>,
        hidden_bias: &Tensor<f32>,
    ) -> Machine {
        let (d, h) = (visible_bias.len(), hidden_bias.len());
        assert_eq!(
            weight.shape()[..],
            [d, h],
            "machine: the shape of the weight"
        );
        Machine {
            up: weight.clone(),
            down: weight.clone(),
            visible_bias: visible_bias.clone(),
            hidden_bias: hidden_bias.clone(),
            deviations: None,
            packed: None,
        }
    }

    /// With Gaussian visible units of these standard deviations, `[D]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn gaussian(
        weight: &Tensor<f32>,
        visible_bias: &Tensor<f32>,
        hidden_bias: &Tensor<f32>,
        deviations: &Tensor<f32>,
    ) -> Machine {
        let binary = Machine::binary(weight, visible_bias, hidden_bias);
        let width = hidden_bias.len();
        assert_eq!(
            deviations.len(),
            visible_bias.len(),
            "machine: a deviation for each unit"
        );
        let of = |i: usize| deviations.data()[i / width];
        Machine {
            up: Tensor::from_fn(*weight.shape(), |i| weight.data()[i] / of(i)),
            down: Tensor::from_fn(*weight.shape(), |i| weight.data()[i] * of(i)),
            deviations: Some(deviations.clone()),
            ..binary
        }
    }

    /// The same, made ready for many products.
    pub fn packed(mut self) -> Machine {
        let (d, h) = (self.visible(), self.hidden());
        let up = PackedB::new(Mat::new(self.up.data(), d, h));
        let down = PackedB::new(Mat::new(self.down.data(), d, h).t());
        self.packed = Some([up, down]);
        self
    }

    /// How many visible units there are.
    pub fn visible(&self) -> usize {
        self.visible_bias.len()
    }

    /// How many hidden units there are.
    pub fn hidden(&self) -> usize {
        self.hidden_bias.len()
    }

    /// The standard deviations of Gaussian visible units.
    pub fn deviations(&self) -> Option<&[f32]> {
        self.deviations.as_ref().map(Tensor::data)
    }

    /// b.
    pub fn visible_bias(&self) -> &[f32] {
        self.visible_bias.data()
    }

    /// c.
    pub fn hidden_bias(&self) -> &[f32] {
        self.hidden_bias.data()
    }

    /// What reaches the hidden units: c + (v / s) W for v `[n, D]`, into `[n, H]`.
    pub fn hidden_inputs(&self, v: &[f32], out: &mut [f32]) {
        let (d, h) = (self.visible(), self.hidden());
        let v = Mat::new(v, v.len() / d, d);
        let epilogue = Epilogue::bias(self.hidden_bias.data());
        match &self.packed {
            Some([up, _]) => gemm_packed(v, up, Beta::Zero, out, h, epilogue),
            None => gemm(v, Mat::new(self.up.data(), d, h), Beta::Zero, out, epilogue),
        }
    }

    /// What reaches the visible units: b + s W h for h `[n, H]`, into `[n, D]`. Of Gaussian units
    /// it is the mean, of binary ones the logit.
    pub fn visible_inputs(&self, h: &[f32], out: &mut [f32]) {
        let (d, width) = (self.visible(), self.hidden());
        let h = Mat::new(h, h.len() / width, width);
        let epilogue = Epilogue::bias(self.visible_bias.data());
        match &self.packed {
            Some([_, down]) => gemm_packed(h, down, Beta::Zero, out, d, epilogue),
            None => {
                let down = Mat::new(self.down.data(), d, width).t();
                gemm(h, down, Beta::Zero, out, epilogue);
            }
        }
    }

    /// What F(v) has beside the hidden units: -b v, or the quadratic term of Gaussian units.
    fn visible_energy(&self, v: &[f32]) -> f64 {
        let Some(deviations) = self.deviations() else {
            return -f64::from(dot(self.visible_bias.data(), v));
        };
        let units = v.iter().zip(self.visible_bias.data()).zip(deviations);
        units
            .map(|((v, b), s)| 0.5 * f64::from((v - b) / s).powi(2))
            .sum()
    }

    /// F(v) of each row of v `[n, D]`, given what reaches its hidden units, `[n, H]`.
    pub fn free_energy_with(&self, v: &[f32], inputs: &[f32]) -> Vec<f64> {
        let mut softplus = vec![0.0; inputs.len()];
        unary(Unary::Softplus, inputs, &mut softplus);
        let rows = v
            .chunks_exact(self.visible())
            .zip(softplus.chunks_exact(self.hidden()));
        rows.map(|(v, terms)| self.visible_energy(v) - sum(terms))
            .collect()
    }

    /// F(v) of each row of v `[n, D]`, in nats; -log p(v) is that plus log Z.
    pub fn free_energy(&self, v: &[f32]) -> Vec<f64> {
        let mut inputs = vec![0.0; v.len() / self.visible() * self.hidden()];
        self.hidden_inputs(v, &mut inputs);
        self.free_energy_with(v, &inputs)
    }

    /// p(h = 1 | v) for v `[n, D]`: `[n, H]`.
    pub fn hidden_means(&self, v: &[f32]) -> Vec<f32> {
        let mut means = vec![0.0; v.len() / self.visible() * self.hidden()];
        self.hidden_inputs(v, &mut means);
        unary_in_place(Unary::Sigmoid, &mut means);
        means
    }
}

/// The sum in f64.
pub(crate) fn sum(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x)).sum()
}

/// The machines between one whose units are independent, beta = 0, and the machine itself,
/// beta = 1. R. Salakhutdinov and I. Murray 2008, "On the quantitative analysis of deep belief
/// networks", equation 16.
///
/// ```text
/// log p*_beta(v) = (1 - beta) base v + beta b v + sum_j log(1 + e^(beta (c_j + (v W)_j)))
/// ```
///
/// Gaussian visible units keep their quadratic term at each beta and have no base.
pub struct Path<'m> {
    /// Where it ends.
    pub machine: &'m Machine,
    /// Logits of the visible units at beta = 0: the base rates of the data. `[D]`.
    base: Vec<f32>,
    /// b - base; zeros for Gaussian units.
    difference: Vec<f32>,
}

impl<'m> Path<'m> {
    /// From units that are 1 with these probabilities, `[D]`, as the data's are.
    pub fn new(machine: &'m Machine, means: &[f32]) -> Path<'m> {
        let base: Vec<f32> = match machine.deviations() {
            Some(_) => machine.visible_bias().to_vec(),
            None => means.iter().copied().map(base_rate).collect(),
        };
        let pairs = machine.visible_bias().iter().zip(&base);
        Path {
            difference: pairs.map(|(b, base)| b - base).collect(),
            machine,
            base,
        }
    }

    /// The machine alone: chains on it stay at beta = 1.
    pub fn end(machine: &'m Machine) -> Path<'m> {
        Path {
            machine,
            base: Vec::new(),
            difference: Vec::new(),
        }
    }

    /// From units that have the machine's own visible biases and no hidden units.
    pub fn from_biases(machine: &'m Machine) -> Path<'m> {
        Path {
            base: machine.visible_bias().to_vec(),
            difference: vec![0.0; machine.visible()],
            machine,
        }
    }

    /// log Z at beta = 0.
    pub fn log_z0(&self) -> f64 {
        let hidden = self.machine.hidden() as f64 * std::f64::consts::LN_2;
        let visible: f64 = match self.machine.deviations() {
            None => self.base.iter().map(|&b| f64::from(b).exp().ln_1p()).sum(),
            Some(deviations) => log_volume(deviations),
        };
        hidden + visible
    }

    /// log p*_to(v) - log p*_from(v) of each row, added to `log_weights`: v `[n, D]`, what reaches
    /// its hidden units `[n, H]`, and room for as many numbers twice.
    pub(crate) fn add_ratios(
        &self,
        [from, to]: [f64; 2],
        (v, inputs): (&[f32], &[f32]),
        room: &mut [Vec<f32>; 2],
        log_weights: &mut [f64],
    ) {
        for (room, beta) in room.iter_mut().zip([from, to]) {
            room.clear();
            room.extend_from_slice(inputs);
            scale(beta as f32, room);
            unary_in_place(Unary::Softplus, room);
        }
        let (d, h) = (self.machine.visible(), self.machine.hidden());
        let rows = room[0].chunks_exact(h).zip(room[1].chunks_exact(h));
        for ((weight, v), (from_terms, to_terms)) in
            log_weights.iter_mut().zip(v.chunks_exact(d)).zip(rows)
        {
            *weight += (to - from) * f64::from(dot(&self.difference, v));
            // Neighbours on the path are so alike that their difference is what counts.
            let terms = from_terms.iter().zip(to_terms);
            *weight += terms.map(|(a, b)| f64::from(b - a)).sum::<f64>();
        }
    }

    /// log p*_beta(v) up to the quadratic term of Gaussian units, given what reaches the hidden
    /// units of one image.
    pub(crate) fn log_density(&self, beta: f32, v: &[f32], inputs: &[f32]) -> f64 {
        let base = dot(&self.base, v) + beta * dot(&self.difference, v);
        let base = if self.machine.deviations.is_some() {
            0.0
        } else {
            base
        };
        let mut terms: Vec<f32> = inputs.iter().map(|a| beta * a).collect();
        unary_in_place(Unary::Softplus, &mut terms);
        f64::from(base) + sum(&terms)
    }

    /// Turns what reaches the visible units at beta = 1 into probabilities at each row's beta, or
    /// into means of Gaussian units.
    pub(crate) fn visible_means(&self, inputs: &mut [f32], betas: &[f32]) {
        let d = self.machine.visible();
        for (row, &beta) in inputs.chunks_exact_mut(d).zip(betas) {
            if beta != 1.0 {
                for (x, base) in row.iter_mut().zip(&self.base) {
                    *x = base + beta * (*x - base);
                }
            }
        }
        if self.machine.deviations.is_none() {
            unary_in_place(Unary::Sigmoid, inputs);
        }
    }
}

/// The logit of a share of ones, kept away from certainty.
pub(crate) fn base_rate(mean: f32) -> f32 {
    let mean = mean.clamp(0.01, 0.99);
    (mean / (1.0 - mean)).ln()
}

/// sum_i log(s_i sqrt(2 pi)).
pub(crate) fn log_volume(deviations: &[f32]) -> f64 {
    let constant = 0.5 * (2.0 * std::f64::consts::PI).ln();
    deviations
        .iter()
        .map(|&s| f64::from(s).ln() + constant)
        .sum()
}
