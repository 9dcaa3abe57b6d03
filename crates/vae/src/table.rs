//! `vae` and `conv-vae`: one model, two kinds of network.

use crate::bound::{self, BETA, DOUBLY, FREE_BITS, Objective, SAMPLES, WARM_UP};
use crate::model::Vae;
use crate::network::Layout;
use crate::output::{self, COMPONENTS, Output, VARIANCE};
use crate::prior::{PRIOR, PRIOR_COMPONENTS, Prior};
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Builder, Params};

pub(crate) const HIDDEN: Hyper = Hyper {
    name: "hidden",
    meaning: "units of each hidden layer of the encoder; the decoder mirrors them",
    default: Value::Counts(&[400]),
};
pub(crate) const LATENTS: Hyper = Hyper {
    name: "latents",
    meaning: "dimensions of the code z",
    default: Value::Count(20),
};
pub(crate) const CHANNELS: Hyper = Hyper {
    name: "channels",
    meaning: "channels of each stage of the encoder, which halves rows and columns; the decoder \
              mirrors them",
    default: Value::Counts(&[32, 64]),
};
pub(crate) const BLOCKS: Hyper = Hyper {
    name: "blocks",
    meaning: "residual blocks of a stage; 0 leaves them out",
    default: Value::Number(0.0),
};
const CONDITIONAL: Hyper = Hyper {
    name: "conditional",
    meaning: "true: encoder and decoder are told the class of the image",
    default: Value::Flag(false),
};

/// What stands behind the sizes of the network.
const OPTIONS: [Hyper; 11] = [
    output::PIXELS,
    COMPONENTS,
    VARIANCE,
    PRIOR,
    PRIOR_COMPONENTS,
    BETA,
    WARM_UP,
    FREE_BITS,
    SAMPLES,
    DOUBLY,
    CONDITIONAL,
];

const fn with_options<const N: usize, const ALL: usize>(sizes: [Hyper; N]) -> [Hyper; ALL] {
    let mut all = [CONDITIONAL; ALL];
    let mut i = 0;
    while i < ALL {
        all[i] = if i < N { sizes[i] } else { OPTIONS[i - N] };
        i += 1;
    }
    all
}

const DENSE: [Hyper; 13] = with_options([HIDDEN, LATENTS]);
const CONV: [Hyper; 15] = with_options([
    CHANNELS,
    BLOCKS,
    Hyper {
        default: Value::Counts(&[256]),
        ..HIDDEN
    },
    Hyper {
        default: Value::Count(32),
        ..LATENTS
    },
]);

pub(crate) const VAE: Entry = Entry::new(
    "vae",
    "variational autoencoder, multilayer perceptrons",
    build,
)
.paper("Kingma & Welling 2014, arXiv:1312.6114; samples > 1: Burda et al. 2016, arXiv:1509.00519")
.hypers(&DENSE)
.presets(&[
    Preset {
        name: "deep",
        about: "two hidden layers of 200, 50 latents (Burda et al. 2016), learning rate along a \
                cosine instead of their 3,280 epochs; under an hour of two cores",
        settings: "lr = 0.001\nbatch_size = 100\nepochs = 1000\nschedule.kind = \"cosine\"\n\
                   hypers.hidden = [200, 200]\nhypers.latents = 50\n",
    },
    Preset {
        name: "iwae",
        about: "the same trained on the importance-weighted bound of 50 samples; about an hour",
        settings: "lr = 0.001\nbatch_size = 100\nepochs = 150\nschedule.kind = \"cosine\"\n\
                   hypers.hidden = [200, 200]\nhypers.latents = 50\nhypers.samples = 50\n",
    },
    Preset {
        name: "paper-iwae",
        about: "as Burda et al. 2016 trained it: batches of 20, 3,280 epochs in which the learning \
                rate falls to a tenth",
        settings: "lr = 0.001\nbatch_size = 20\nepochs = 3280\nschedule.kind = \"exponential\"\n\
                   schedule.decay = 0.9999997\nhypers.hidden = [200, 200]\nhypers.latents = 50\n\
                   hypers.samples = 50\n",
    },
    Preset {
        name: "plane",
        about: "a code of two dimensions, which `genzoo latent` can draw as a map",
        settings: "epochs = 30\nhypers.hidden = [400, 200]\nhypers.latents = 2\n",
    },
])
.recipe(recipe)
.accepts(Output::accepts)
.small(&[("hidden", "16"), ("latents", "2")]);

pub(crate) const CONV_VAE: Entry = Entry::new(
    "conv-vae",
    "variational autoencoder, strided and transposed convolutions",
    build,
)
.paper("Kingma & Welling 2014, arXiv:1312.6114; Radford et al. 2016, arXiv:1511.06434")
.hypers(&CONV)
.presets(&[
    Preset {
        name: "mnist",
        about: "for binary MNIST: three stages of 64 channels with residual blocks, moving \
                average; sized for an hour of two cores",
        settings: "lr = 0.001\nbatch_size = 128\nepochs = 100\nema = 0.999\n\
                   schedule.kind = \"cosine\"\nhypers.channels = [64, 64, 64]\n\
                   hypers.blocks = 2\n",
    },
    Preset {
        name: "cifar-10",
        about: "32x32 colour images: three stages, 128 latents, mixtures of logistics",
        settings: "lr = 0.001\nbatch_size = 64\nepochs = 30\nbinarize = \"none\"\n\
                   schedule.kind = \"cosine\"\nhypers.channels = [48, 96, 192]\n\
                   hypers.latents = 128\nhypers.pixels = \"logistics\"\n",
    },
])
.recipe(recipe)
.accepts(Output::accepts)
.small(&[
    ("channels", "4,6"),
    ("blocks", "1"),
    ("hidden", "8"),
    ("latents", "2"),
]);

/// Adam at 1e-3 and batches of 128 (the paper: Adagrad, batches of 100).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("elbo", Optimiser::adam(1e-3))
        .schedule(Schedule::Constant)
        .batch_size(128)
        .epochs(30)
}

/// The sizes of the networks that the hyper-parameters say.
pub(crate) fn layout(
    hypers: &Hypers,
    spec: ImageSpec,
    convolutional: bool,
) -> Result<Layout, HyperError> {
    let mut layout = Layout::dense(&hypers.counts(HIDDEN.name));
    if !convolutional {
        return Ok(layout);
    }
    let blocks = hypers.number(BLOCKS.name);
    if blocks.fract() != 0.0 || !(0.0..=100.0).contains(&blocks) {
        let reason = format!("blocks: expected a whole number from 0 to 100, found {blocks}");
        return Err(hypers.unfit(reason));
    }
    layout.channels = hypers.counts(CHANNELS.name);
    layout.blocks = blocks as usize;
    if !layout.fits(spec) {
        return Err(hypers.unfit(format!(
            "images of {}x{} pixels cannot be halved {} times; channels lists the stages",
            spec.height,
            spec.width,
            layout.channels.len()
        )));
    }
    Ok(layout)
}

/// Whether the model has the hyper-parameters of convolutions.
fn has(hypers: &Hypers, name: &str) -> bool {
    hypers.iter().any(|(hyper, _)| hyper.name == name)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let mut layout = layout(hypers, spec, has(hypers, CHANNELS.name))?;
    let objective = Objective::chosen(hypers)?;
    let prior = hypers.choice(PRIOR.name);
    if hypers.flag(CONDITIONAL.name) {
        let unfit = || hypers.unfit("conditional=true needs images with labels, these have none");
        layout.classes = spec.classes.ok_or_else(unfit)?;
        if prior == "vamp" {
            let reason = "prior=vamp knows no classes: use normal or mixture with conditional=true";
            return Err(hypers.unfit(reason));
        }
    }
    if prior != "normal" && objective.free_bits > 0.0 {
        return Err(hypers.unfit(format!(
            "{} are counted by dimension, which prior={prior} cannot: use prior=normal",
            bound::FREE_BITS.name
        )));
    }
    let latents = hypers.count(LATENTS.name);
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let output = Output::chosen(&mut b, hypers, spec)?;
    let model = Vae::with(&mut b, spec, layout, latents, output);
    let components = hypers.count(PRIOR_COMPONENTS.name);
    let prior = match prior {
        "mixture" => Prior::mixture(&mut b, components, latents),
        "vamp" => Prior::vamp(&mut b, components, spec, setup.data),
        _ => Prior::Normal,
    };
    Ok((Box::new(model.prior(prior).objective(objective)), params))
}
