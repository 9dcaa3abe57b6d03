//! One training step of a machine: data on the positive side, chains on the negative one.

use crate::chains::Chains;
use crate::contrast::{Offsets, Units, linear};
use crate::machine::{Machine, Path};
use crate::walk::Walk;
use grad::kernels::elementwise::{Unary, unary_in_place};
use grad::{Tensor, Var};
use nn::hyper::{Hyper, Value};
use nn::model::{Loss, Setup, Step};
use nn::random::word;
use nn::{Builder, ParamId};

/// The hyper-parameters that every machine has, in its table.
pub(crate) const ALGORITHM: Hyper = Hyper {
    name: "algorithm",
    meaning: "where negative samples come from: chains that go on from step to step (pcd), or chains that begin at the images (cd)",
    default: Value::Choice(&["pcd", "cd"]),
};
/// The same where there is no choice: what an image does not show is a mean, from which no chain
/// can begin.
pub(crate) const PERSISTENT: Hyper = Hyper {
    name: ALGORITHM.name,
    meaning: "where negative samples come from: chains that go on from step to step",
    default: Value::Choice(&["pcd"]),
};
pub(crate) const STEPS: Hyper = Hyper {
    name: "k",
    meaning: "steps of Gibbs sampling that a chain makes in a training step",
    default: Value::Count(5),
};
pub(crate) const CHAINS: Hyper = Hyper {
    name: "chains",
    meaning: "persistent chains",
    default: Value::Count(100),
};
pub(crate) const REPLICAS: Hyper = Hyper {
    name: "replicas",
    meaning: "temperatures of parallel tempering that each persistent chain runs at; 1 for none",
    default: Value::Count(1),
};
pub(crate) const CENTRING: Hyper = Hyper {
    name: "centring",
    meaning: "whether gradients are those of units less their means; binary visible units only",
    default: Value::Flag(true),
};

/// Share of a batch in the running means that units are centred by.
const OFFSET_RATE: f32 = 0.01;
/// From so many steps on, the weights are rearranged once for all of them.
const WORTH_PACKING: usize = 3;

/// How the parameters of a machine are found, and what must be remembered for it.
pub(crate) struct Trainer {
    k: usize,
    /// Without persistent chains, chains begin at the images.
    chains: Option<Chains>,
    /// mu and lambda.
    offsets: Option<[ParamId; 2]>,
}

/// The parameters of a machine, bound.
pub(crate) struct Vars<'a> {
    /// W, `[D, H]`.
    pub(crate) weight: &'a Var<f32>,
    /// b, `[D]`.
    pub(crate) visible_bias: &'a Var<f32>,
    /// c, `[H]`.
    pub(crate) hidden_bias: &'a Var<f32>,
    /// log s of Gaussian visible units, `[D]`.
    pub(crate) log_deviations: Option<&'a Var<f32>>,
}

impl Vars<'_> {
    /// Their numbers.
    pub(crate) fn machine(&self) -> Machine {
        let values = [self.weight, self.visible_bias, self.hidden_bias].map(Var::value);
        let [weight, b, c] = values;
        match self.log_deviations {
            None => Machine::binary(weight, b, c),
            Some(log) => Machine::gaussian(weight, b, c, &log.value().map(f32::exp)),
        }
    }
}

/// What a machine has on either side.
pub(crate) struct Sides<'a> {
    /// The mean of each visible unit in the data, `[D]`.
    pub(crate) means: &'a [f32],
    /// How many hidden units.
    pub(crate) hidden: usize,
    /// Whether the visible units are Gaussian.
    pub(crate) gaussian: bool,
}

impl Trainer {
    /// As the hyper-parameters say.
    pub(crate) fn new(b: &mut Builder, setup: &Setup, sides: &Sides) -> Trainer {
        let (hypers, &Sides { means, hidden, .. }) = (setup.hypers, sides);
        let sizes = [CHAINS, REPLICAS].map(|hyper| hypers.count(hyper.name));
        let persistent = hypers.choice(ALGORITHM.name) == "pcd";
        let centred = hypers.flag(CENTRING.name) && !sides.gaussian;
        Trainer {
            k: hypers.count(STEPS.name),
            chains: persistent.then(|| Chains::new(b, sizes, means, setup.seed)),
            offsets: centred.then(|| {
                let visible = b.training_state("visible_offset", Tensor::new([means.len()], means));
                let hidden = b.training_state("hidden_offset", Tensor::full([hidden], 0.5));
                [visible, hidden]
            }),
        }
    }

    fn offsets(&self, step: &Step, machine: &Machine) -> Offsets<f32> {
        match self.offsets {
            Some([visible, hidden]) => Offsets {
                visible: step.p[visible].value().clone(),
                hidden: step.p[hidden].value().clone(),
            },
            None => Offsets {
                visible: Tensor::zeros([machine.visible()]),
                hidden: Tensor::zeros([machine.hidden()]),
            },
        }
    }

    /// The loss F(positive) - F(negative), summed over the rows of v `[n, D]`, images or what a
    /// deeper model makes of them. Its derivatives are those of -log p(v) as far as the chains are
    /// samples of the machine, times `rate`.
    pub(crate) fn loss(&self, step: &Step, vars: &Vars, v: &Tensor<f32>, rate: f64) -> Loss {
        let machine = vars.machine();
        let offsets = self.offsets(step, &machine);
        let scaled = |v: &Tensor<f32>| match machine.deviations() {
            None => v.clone(),
            Some(s) => Tensor::from_fn(*v.shape(), |i| v.data()[i] / s[i % s.len()]),
        };
        // What the offsets take from the hidden inputs.
        let mut shift = vec![0.0; machine.hidden()];
        machine.hidden_inputs(offsets.visible.data(), &mut shift);
        let side = |v: &Tensor<f32>, counts: f64| {
            let mut units = Units::of(&scaled(v), vars.weight, &offsets, counts);
            let mut inputs = units.product.value().clone();
            for row in inputs.make_mut().chunks_exact_mut(shift.len()) {
                row.iter_mut()
                    .zip(&shift)
                    .for_each(|(x, shift)| *x += shift);
            }
            units.hidden = inputs.clone();
            unary_in_place(Unary::Sigmoid, units.hidden.make_mut());
            let energy: f64 = machine
                .free_energy_with(v.data(), inputs.data())
                .iter()
                .sum();
            let sum = units.sum(
                vars.log_deviations.is_none().then_some(vars.visible_bias),
                vars.hidden_bias,
                &offsets,
            );
            let sum = match vars.log_deviations {
                Some(log) => sum + gaussian_terms(&machine, vars, log, v, &units),
                None => sum,
            };
            (sum, -counts * energy, units, inputs)
        };

        let (positive, energy, units, inputs) = side(v, -1.0);
        self.follow_means(step, v, &units.hidden);
        let negative = match &self.chains {
            Some(chains) => {
                let packed = (self.k >= WORTH_PACKING).then(|| vars.machine().packed());
                chains.advance(step, packed.as_ref().unwrap_or(&machine), self.k)
            }
            None => Some((self.contrastive(step, &machine, v, inputs.data()), 1.0)),
        };
        let (sum, value) = match negative {
            None => (positive, energy),
            Some((samples, counts)) => {
                let (negative, other, ..) = side(&samples, counts);
                (positive + negative, energy + other)
            }
        };
        // The sum is linear in the parameters: its derivatives are what counts. Its value is made
        // the difference of the free energies, which says something.
        let correction = value - rate * f64::from(sum.item());
        Loss::of(sum.affine(rate, correction)).surrogate()
    }

    /// Where chains from the images v are after k steps, given what reaches their hidden units.
    fn contrastive(
        &self,
        step: &Step,
        machine: &Machine,
        v: &Tensor<f32>,
        inputs: &[f32],
    ) -> Tensor<f32> {
        let streams = (0..v.shape()[0]).map(|i| step.batch.stream(i, word("negative")));
        let path = Path::end(machine);
        let mut walk = Walk::from(&path, v.data().to_vec(), streams.collect());
        walk.set_hidden_inputs(inputs);
        walk.resample();
        walk.steps(self.k - 1);
        Tensor::new(*v.shape(), walk.visible())
    }

    /// Leaves what the running means of both sides become.
    fn follow_means(&self, step: &Step, v: &Tensor<f32>, hidden: &Tensor<f32>) {
        for (id, rows) in self.offsets.iter().flatten().zip([v, hidden]) {
            let old = step.p[*id].value();
            let mut mean = vec![0.0f32; old.len()];
            for row in rows.data().chunks_exact(old.len()) {
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let n = rows.shape()[0] as f32;
            let new = |i: usize| old.data()[i] + OFFSET_RATE * (mean[i] / n - old.data()[i]);
            step.p.update(*id, Tensor::from_fn(*old.shape(), new));
        }
    }
}

/// The derivatives by b and log s of Gaussian visible units:
/// b: w (v - b) / s^2, log s: w ((v - b)^2 / s^2 - (v / s) (W h)).
fn gaussian_terms(
    machine: &Machine,
    vars: &Vars,
    log_deviations: &Var<f32>,
    v: &Tensor<f32>,
    units: &Units<f32>,
) -> Var<f32> {
    let (b, s) = (
        machine.visible_bias(),
        machine.deviations().expect("Gaussian units"),
    );
    let d = b.len();
    let mut means = vec![0.0; v.len()];
    machine.visible_inputs(units.hidden.data(), &mut means);
    let (mut of_b, mut of_s) = (vec![0.0; d], vec![0.0; d]);
    let w = units.weight as f32;
    for (v, means) in v.data().chunks_exact(d).zip(means.chunks_exact(d)) {
        for i in 0..d {
            let (x, m) = ((v[i] - b[i]) / s[i], (means[i] - b[i]) / s[i]);
            of_b[i] += w * x / s[i];
            of_s[i] += w * (x * x - v[i] / s[i] * m);
        }
    }
    linear(vars.visible_bias, Tensor::new([d], &of_b))
        + linear(log_deviations, Tensor::new([d], &of_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grad::Tape;

    /// Derivatives by every parameter of a Gaussian machine are those of F(positive) - F(negative)
    /// at these units.
    #[test]
    fn gaussian_gradients_are_those_of_the_free_energy() {
        let values = [
            Tensor::new([2, 2], &[0.7, -0.4, 0.2, 0.9]),
            Tensor::new([2], &[0.1, 0.4]),
            Tensor::new([2], &[-0.3, 0.2]),
            Tensor::new([2], &[-0.5, 0.1]),
        ];
        let sides = [([0.9, -0.2, 0.3, 0.5], -1.0), ([0.4, 0.8, -0.6, 1.1], 0.5)];
        let machine = |values: &[Tensor<f32>; 4]| {
            Machine::gaussian(&values[0], &values[1], &values[2], &values[3].map(f32::exp))
        };
        let energy = |values: &[Tensor<f32>; 4]| -> f64 {
            let of = |(v, counts): &([f32; 4], f64)| {
                -counts * machine(values).free_energy(v).iter().sum::<f64>()
            };
            sides.iter().map(of).sum()
        };
        let tape = Tape::new();
        let vars = values.clone().map(|value| tape.var(value));
        let bound = Vars {
            weight: &vars[0],
            visible_bias: &vars[1],
            hidden_bias: &vars[2],
            log_deviations: Some(&vars[3]),
        };
        let machine = machine(&values);
        let offsets = Offsets {
            visible: Tensor::zeros([2]),
            hidden: Tensor::zeros([2]),
        };
        let s = machine.deviations().unwrap();
        let loss = sides.map(|(v, counts)| {
            let v = Tensor::new([2, 2], &v);
            let scaled = Tensor::from_fn([2, 2], |i| v.data()[i] / s[i % 2]);
            let mut units = Units::of(&scaled, &vars[0], &offsets, counts);
            units.hidden = Tensor::new([2, 2], &machine.hidden_means(v.data()));
            units.sum(None, &vars[2], &offsets)
                + gaussian_terms(&machine, &bound, &vars[3], &v, &units)
        });
        let [positive, negative] = loss;
        let found = tape.gradients(&(positive + negative), &vars.each_ref());
        for (k, found) in found.iter().enumerate() {
            for i in 0..found.len() {
                let at = |delta: f32| {
                    let mut moved = values.clone();
                    moved[k].make_mut()[i] += delta;
                    energy(&moved)
                };
                let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
                let found = f64::from(found.data()[i]);
                assert!(
                    (found - expected).abs() < 2e-3,
                    "{k}[{i}]: {expected}, {found}"
                );
            }
        }
    }
}
