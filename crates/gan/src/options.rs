//! The hyper-parameters of every model here: one table, with defaults that are each paper's.

use crate::game::Gan;
use crate::layers::NormKind;
use crate::objective::Objective;
use crate::players::Sizes;
use crate::turns::Turns;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::{Built, Phase, Recipe, Setup};
use nn::optim::Optimiser;
use nn::{Builder, Params};

/// Where the models differ. Of words, the first is the default.
pub(crate) struct Defaults {
    pub(crate) network: &'static [&'static str],
    pub(crate) loss: &'static [&'static str],
    pub(crate) latents: usize,
    pub(crate) discriminator_steps: usize,
    pub(crate) long_discriminator_steps: usize,
    /// Of the discriminator, then of the generator.
    pub(crate) lr: [f64; 2],
    pub(crate) discriminator_norm: &'static [&'static str],
    pub(crate) generator_norm: &'static [&'static str],
    pub(crate) clip: f64,
    pub(crate) penalty: f64,
    pub(crate) conditional: bool,
}

pub(crate) const MLP: &[&str] = &["mlp", "conv"];
pub(crate) const CONV: &[&str] = &["conv", "mlp"];
pub(crate) const NO_NORM: &[&str] = &["none", "batch", "layer"];
pub(crate) const BATCH_NORM: &[&str] = &["batch", "layer", "none"];
pub(crate) const NON_SATURATING: &[&str] = &[
    "non-saturating",
    "minimax",
    "hinge",
    "least-squares",
    "wasserstein",
];
pub(crate) const WASSERSTEIN: &[&str] = &[
    "wasserstein",
    "non-saturating",
    "minimax",
    "hinge",
    "least-squares",
];

/// Sizes for tests.
pub(crate) const SMALL: &[(&str, &str)] =
    &[("hidden", "12,8"), ("channels", "3"), ("latents", "4")];

/// The same with turns of the critic that are short enough for the generator to play, too.
pub(crate) const SMALL_TURNS: &[(&str, &str)] = &[
    ("hidden", "12,8"),
    ("channels", "3"),
    ("latents", "4"),
    ("discriminator_steps", "2"),
    ("long_discriminator_steps", "3"),
];

const fn hyper(name: &'static str, meaning: &'static str, default: Value) -> Hyper {
    Hyper {
        name,
        meaning,
        default,
    }
}

/// The table of a model with these defaults.
pub(crate) const fn table(d: &Defaults) -> [Hyper; 19] {
    [
        hyper(
            "network",
            "what the players are made of",
            Value::Choice(d.network),
        ),
        hyper(
            "hidden",
            "mlp: units of the generator's hidden layers; the discriminator mirrors them",
            Value::Counts(&[256, 512]),
        ),
        hyper(
            "channels",
            "conv: channels next to the image; twice as many at each halving of its size",
            Value::Count(64),
        ),
        hyper("latents", "dimensions of z", Value::Count(d.latents)),
        hyper("loss", "what the players minimise", Value::Choice(d.loss)),
        hyper(
            "discriminator_steps",
            "steps of the discriminator for each of the generator",
            Value::Count(d.discriminator_steps),
        ),
        hyper(
            "long_discriminator_steps",
            "the same before the first 25 generator steps and every 500th, if it is more",
            Value::Count(d.long_discriminator_steps),
        ),
        hyper(
            "discriminator_lr",
            "its learning rate",
            Value::Number(d.lr[0]),
        ),
        hyper("generator_lr", "its learning rate", Value::Number(d.lr[1])),
        hyper(
            "discriminator_norm",
            "what normalises its layers: over the batch, over each image, or nothing",
            Value::Choice(d.discriminator_norm),
        ),
        hyper(
            "generator_norm",
            "the same of the generator",
            Value::Choice(d.generator_norm),
        ),
        hyper(
            "spectral_norm",
            "divide the discriminator's weights by their largest singular values",
            Value::Flag(false),
        ),
        hyper(
            "label_smoothing",
            "what is taken off the target of real images, 0 to below 1",
            Value::Number(0.0),
        ),
        hyper(
            "instance_noise",
            "deviation of noise on what the discriminator sees, falling to 0 over the run",
            Value::Number(0.0),
        ),
        hyper(
            "clip",
            "the largest size of a weight of the discriminator; 0 for no bound",
            Value::Number(d.clip),
        ),
        hyper(
            "gradient_penalty",
            "what (|grad D| - 1)^2 between real and generated images counts; 0 for none",
            Value::Number(d.penalty),
        ),
        hyper(
            "generator_ema",
            "decay of the average of parameters that samples are made with; 0 for none",
            Value::Number(0.0),
        ),
        hyper(
            "conditional",
            "tell both players the class of each image",
            Value::Flag(d.conditional),
        ),
        hyper(
            "adam_beta1",
            "beta1 of Adam, where the recipe has Adam",
            Value::Number(0.5),
        ),
    ]
}

/// How such a model is trained, by an optimiser that is made from a learning rate.
pub(crate) fn recipe(setup: &Setup, optimiser: impl Fn(f64) -> Optimiser) -> Recipe {
    let number = |name: &str| setup.hypers.number(name);
    // A learning rate that is no rate is refused where the model is built.
    let phase = |name: &'static str, lr: f64| Phase::new(name, optimiser(lr));
    let recipe = Recipe::of(vec![
        phase("discriminator", number("discriminator_lr")).of("discriminator."),
        phase("generator", number("generator_lr")).of("generator."),
    ]);
    match number("generator_ema") {
        decay if decay > 0.0 => recipe.ema(decay as f32),
        _ => recipe,
    }
}

/// Adam with the table's beta1 and this beta2.
pub(crate) fn adam(setup: &Setup, lr: f64, beta2: f64) -> Optimiser {
    Optimiser::adam_with(lr, setup.hypers.number("adam_beta1"), beta2)
}

/// The model that the hyper-parameters describe.
pub(crate) fn build(setup: &Setup) -> Result<Built, HyperError> {
    let hypers = setup.hypers;
    check(hypers)?;
    let spec = match (hypers.flag("conditional"), setup.image.classes) {
        (true, None) => {
            let reason = "conditional: expected images with labels, found none";
            return Err(hypers.unfit(reason));
        }
        (true, Some(_)) => setup.image,
        (false, _) => setup.image.without_classes(),
    };
    let sizes = Sizes {
        spec,
        latents: hypers.count("latents"),
        hidden: hypers.counts("hidden"),
        channels: hypers.count("channels"),
        convolutions: hypers.choice("network") == "conv",
        generator_norm: NormKind::named(hypers.choice("generator_norm")),
        discriminator_norm: NormKind::named(hypers.choice("discriminator_norm")),
        spectral: hypers.flag("spectral_norm"),
    };
    if sizes.convolutions && sizes.halvings().len() < 2 {
        let (height, width) = (spec.height, spec.width);
        return Err(hypers.unfit(format!(
            "network=conv: expected an even height and width of at least 6, found {height}x{width}"
        )));
    }
    let penalty = Some(hypers.number("gradient_penalty")).filter(|&weight| weight > 0.0);
    if penalty.is_some() && sizes.discriminator_norm == NormKind::Batch {
        return Err(hypers.unfit(
            "gradient_penalty: expected discriminator_norm none or layer, found batch, with which \
             an image's gradient depends on the others of its batch",
        ));
    }
    let objective = Objective::named(hypers.choice("loss")).expect("a choice of the table");
    let mut params = Params::new();
    let mut model = Gan::new(&mut Builder::new(&mut params, setup.seed), sizes, objective);
    model.turns = Turns {
        steps: hypers.count("discriminator_steps") as u64,
        long: hypers.count("long_discriminator_steps") as u64,
    };
    model.smoothing = hypers.number("label_smoothing");
    model.noise = hypers.number("instance_noise");
    model.clip = Some(hypers.number("clip") as f32).filter(|&clip| clip > 0.0);
    model.penalty = penalty;
    Ok((Box::new(model), params))
}

fn check(hypers: &Hypers) -> Result<(), HyperError> {
    let number = |name: &str, words: &str, fits: fn(f64) -> bool| {
        let x = hypers.number(name);
        match fits(x) {
            true => Ok(()),
            false => Err(hypers.unfit(format!("{name}: expected a number {words}, found {x}"))),
        }
    };
    let not_negative = |x: f64| x >= 0.0;
    let share = |x: f64| (0.0..1.0).contains(&x);
    number("discriminator_lr", "above 0", |x| x > 0.0)?;
    number("generator_lr", "above 0", |x| x > 0.0)?;
    number("instance_noise", "of at least 0", not_negative)?;
    number("clip", "of at least 0", not_negative)?;
    number("gradient_penalty", "of at least 0", not_negative)?;
    number("label_smoothing", "from 0 to below 1", share)?;
    number("generator_ema", "from 0 to below 1", share)?;
    number("adam_beta1", "from 0 to below 1", share)
}
