//! Scale after scale: squeeze, some steps, half of the channels done, the rest goes on.

use crate::layer::Flow;
use crate::shape::{FactorOut, Flatten, Squeeze};
use nn::Builder;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::ImageSpec;

/// How often the sides are halved.
pub(crate) const SCALES: Hyper = Hyper {
    name: "scales",
    meaning: "how often the sides are halved; after each but the last, half of the numbers are done",
    default: Value::Count(2),
};

/// Checks that images of this kind can be halved so often.
pub(crate) fn check(hypers: &Hypers, spec: &ImageSpec) -> Result<usize, HyperError> {
    let scales = hypers.count(SCALES.name);
    let fits = |side: usize| scales < 31 && side.is_multiple_of(1 << scales);
    if fits(spec.height) && fits(spec.width) {
        return Ok(scales);
    }
    let sides = (spec.height | spec.width).trailing_zeros();
    let hint = match sides {
        0 => "even sides are needed".into(),
        most => format!("scales={most} is the most"),
    };
    Err(hypers.unfit(format!(
        "scales={scales}: images of {} x {} cannot be halved so often; {hint}",
        spec.height, spec.width
    )))
}

/// Adds the scales to `flow`, which gives `[B, H, W, C]`. `steps(b, flow, channels, last)` adds the
/// steps of a scale, whose images have so many channels.
pub(crate) fn scales(
    b: &mut Builder,
    flow: Flow,
    spec: &ImageSpec,
    scales: usize,
    steps: &dyn Fn(&mut Builder, &mut Flow, usize, bool),
) -> Flow {
    let shape = [spec.height, spec.width, spec.channels];
    from_scale(b, flow, shape, 0, scales, steps)
}

fn from_scale(
    b: &mut Builder,
    flow: Flow,
    [height, width, channels]: [usize; 3],
    scale: usize,
    scales: usize,
    steps: &dyn Fn(&mut Builder, &mut Flow, usize, bool),
) -> Flow {
    let (height, width, channels) = (height / 2, width / 2, 4 * channels);
    let mut flow = flow.then(Squeeze);
    let last = scale + 1 == scales;
    steps(
        &mut b.scope(format!("scale{scale}")),
        &mut flow,
        channels,
        last,
    );
    if last {
        return flow.then(Flatten([height, width, channels]));
    }
    let rest = [height, width, channels - channels / 2];
    let onward = from_scale(b, Flow::new(), rest, scale + 1, scales, steps);
    flow.then(FactorOut::new([height, width, channels], onward))
}
