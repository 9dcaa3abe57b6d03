//! What the two players minimise.
//!
//! With d = D(x), a number without bounds, and s the logistic function:
//!
//! | objective | discriminator, on x and on G(z) | generator |
//! |---|---|---|
//! | minimax | -log s(d), -log(1 - s(d)) | log(1 - s(d)) |
//! | non-saturating | the same | -log s(d) |
//! | hinge | max(0, 1 - d), max(0, 1 + d) | -d |
//! | least squares | (d - 1)^2 / 2, d^2 / 2 | (d - 1)^2 / 2 |
//! | Wasserstein | -d, d | -d |
//!
//! Minimax and non-saturating: I. Goodfellow et al. 2014, arXiv:1406.2661, section 3. Hinge: J. H.
//! Lim and J. C. Ye 2017, arXiv:1705.02894. Least squares: X. Mao et al. 2017, arXiv:1611.04076,
//! equation 9. Wasserstein: M. Arjovsky et al. 2017, arXiv:1701.07875.

use grad::{Element, Var};

/// A pair of losses. All take what the discriminator says of B images, `[B]`, and give a number
/// for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The generator minimises what the discriminator maximises. Its gradient vanishes where the
    /// discriminator is sure.
    Minimax,
    /// The generator maximises the probability that its images are real.
    NonSaturating,
    /// The discriminator only wants a margin of 1.
    Hinge,
    /// Regression on 1 and 0.
    LeastSquares,
    /// The critic's difference, an estimate of the Wasserstein distance where the critic is
    /// Lipschitz.
    Wasserstein,
}

impl Objective {
    /// The names of `--set loss=`.
    pub const NAMES: [(&'static str, Objective); 5] = [
        ("non-saturating", Objective::NonSaturating),
        ("minimax", Objective::Minimax),
        ("hinge", Objective::Hinge),
        ("least-squares", Objective::LeastSquares),
        ("wasserstein", Objective::Wasserstein),
    ];

    /// The objective of this name.
    pub fn named(name: &str) -> Option<Objective> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, objective)| *objective)
    }

    /// Whether s(d) is the probability that an image is real.
    pub fn is_probability(self) -> bool {
        matches!(self, Objective::Minimax | Objective::NonSaturating)
    }

    /// The discriminator's loss of real images. `smoothing` is taken off the target of 1, on this
    /// side only (T. Salimans et al. 2016, arXiv:1606.03498, section 3.4).
    pub fn of_real<T: Element>(self, d: &Var<T>, smoothing: f64) -> Var<T> {
        let target = 1.0 - smoothing;
        match self {
            // -t log s(d) - (1 - t) log(1 - s(d)).
            Objective::Minimax | Objective::NonSaturating => d.softplus() - d * target,
            Objective::Hinge => d.affine(-1.0, target).relu(),
            Objective::LeastSquares => d.shift(-target).square() * 0.5,
            Objective::Wasserstein => -d,
        }
    }

    /// The discriminator's loss of generated images.
    pub fn of_fake<T: Element>(self, d: &Var<T>) -> Var<T> {
        match self {
            Objective::Minimax | Objective::NonSaturating => d.softplus(),
            Objective::Hinge => d.shift(1.0).relu(),
            Objective::LeastSquares => d.square() * 0.5,
            Objective::Wasserstein => d.clone(),
        }
    }

    /// The generator's loss.
    pub fn of_generator<T: Element>(self, d: &Var<T>) -> Var<T> {
        match self {
            Objective::Minimax => -d.softplus(),
            Objective::NonSaturating => (-d).softplus(),
            Objective::LeastSquares => d.shift(-1.0).square() * 0.5,
            Objective::Hinge | Objective::Wasserstein => -d,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grad::{Tape, Tensor};

    fn constant(values: &[f64]) -> Var<f64> {
        Var::constant(Tensor::new([values.len()], values))
    }

    /// At the equilibrium D(x) = 1/2 everywhere: log 4 for the discriminator, -log 2 and log 2 for
    /// the two generators.
    #[test]
    fn losses_at_equilibrium() {
        let d = constant(&[0.0]);
        let ln2 = 2f64.ln();
        for objective in [Objective::Minimax, Objective::NonSaturating] {
            let sum = objective.of_real(&d, 0.0) + objective.of_fake(&d);
            assert!((sum.item() - 2.0 * ln2).abs() < 1e-12);
        }
        assert!((Objective::Minimax.of_generator(&d).item() + ln2).abs() < 1e-12);
        assert!((Objective::NonSaturating.of_generator(&d).item() - ln2).abs() < 1e-12);
        let half = constant(&[0.5]);
        let least = Objective::LeastSquares;
        assert_eq!(least.of_real(&half, 0.0).item(), 0.125);
        assert_eq!(least.of_fake(&half).item(), 0.125);
        assert_eq!(Objective::Hinge.of_real(&d, 0.0).item(), 1.0);
        let both =
            Objective::Wasserstein.of_real(&half, 0.0) + Objective::Wasserstein.of_fake(&half);
        assert_eq!(both.item(), 0.0);
    }

    /// Over a finite set the best discriminator is D = p / (p + q), and its value is
    /// -log 4 + 2 JS(p, q) (proposition 1 and theorem 1 of the paper).
    #[test]
    fn the_best_discriminator_of_a_table_gives_the_jensen_shannon_value() {
        let p = [0.1, 0.2, 0.3, 0.4];
        let q = [0.4, 0.1, 0.25, 0.25];
        let mut d = Tensor::<f64>::zeros([4]);
        let value = |d: &Var<f64>| {
            let objective = Objective::Minimax;
            (objective.of_real(d, 0.0) * constant(&p) + objective.of_fake(d) * constant(&q)).sum()
        };
        for _ in 0..4000 {
            let tape = Tape::new();
            let x = tape.var(d.clone());
            let gradient = tape.gradients(&value(&x), &[&x]).remove(0);
            for (d, g) in d.make_mut().iter_mut().zip(gradient.data()) {
                *d -= 4.0 * g;
            }
        }
        for (i, d) in d.data().iter().enumerate() {
            let probability = 1.0 / (1.0 + (-d).exp());
            assert!((probability - p[i] / (p[i] + q[i])).abs() < 1e-9);
        }
        let kl = |a: f64, b: f64| a * (2.0 * a / (a + b)).ln();
        let js: f64 = (p.iter().zip(&q))
            .map(|(&p, &q)| 0.5 * (kl(p, q) + kl(q, p)))
            .sum();
        let found = -value(&Var::constant(d)).item();
        assert!((found - (2.0 * js - 4f64.ln())).abs() < 1e-9, "{found}");
    }

    /// Where the discriminator is sure that an image is generated, minimax has almost no gradient
    /// and the non-saturating loss a gradient of almost 1: section 3 of the paper.
    #[test]
    fn minimax_saturates_where_the_discriminator_is_sure() {
        let slope = |objective: Objective, at: f64| {
            let tape = Tape::new();
            let d = tape.var(Tensor::scalar(at));
            tape.gradients(&objective.of_generator(&d), &[&d])[0].item()
        };
        let s = |d: f64| 1.0 / (1.0 + (-d).exp());
        for at in [-10.0, -3.0, 0.0, 2.0] {
            assert!((slope(Objective::Minimax, at) + s(at)).abs() < 1e-12);
            assert!((slope(Objective::NonSaturating, at) + 1.0 - s(at)).abs() < 1e-12);
        }
        assert!(slope(Objective::Minimax, -10.0).abs() < 1e-4);
        assert!(slope(Objective::NonSaturating, -10.0) < -0.9999);
    }

    #[test]
    fn a_smoothed_target_is_met_at_its_logit() {
        let at = (0.9f64 / 0.1).ln();
        let tape = Tape::new();
        let d = tape.var(Tensor::scalar(at));
        let loss = Objective::NonSaturating.of_real(&d, 0.1);
        assert!(tape.gradients(&loss, &[&d])[0].item().abs() < 1e-12);
    }
}
