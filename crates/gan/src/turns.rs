//! Whose turn it is.

/// The generator steps that have long turns of the discriminator before them: the first 25 and
/// every 500th (M. Arjovsky et al. 2017, the code that goes with arXiv:1701.07875).
const FIRST: u64 = 25;
const EVERY: u64 = 500;

/// How often the discriminator plays for each step of the generator. A training step of the engine
/// is one step of the discriminator; in some of them the generator takes part, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Discriminator steps for each generator step.
    pub steps: u64,
    /// The same before each of the first 25 generator steps and every 500th, if it is more.
    pub long: u64,
}

impl Turns {
    /// Whether the generator takes part in step `step`, 0 for the first.
    pub fn generator_plays(&self, step: u64) -> bool {
        let k = self.steps.max(1);
        let long = self.long.max(k);
        // Steps up to and with this one; the generator plays where a turn ends.
        let done = step + 1;
        if done <= FIRST * long {
            return done.is_multiple_of(long);
        }
        let done = done - FIRST * long;
        let rest = (EVERY - FIRST) * k;
        if done <= rest {
            return done.is_multiple_of(k);
        }
        match (done - rest) % (long + (EVERY - 1) * k) {
            0 => true,
            within if within < long => false,
            within => (within - long).is_multiple_of(k),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_end_where_they_should() {
        for (steps, long) in [(1, 1), (5, 1), (5, 100), (2, 7), (3, 3)] {
            let turns = Turns { steps, long };
            let (mut step, mut expected) = (0, Vec::new());
            for n in 0..1600 {
                let length = if n < 25 || n % 500 == 0 {
                    steps.max(long)
                } else {
                    steps
                };
                step += length;
                expected.push(step - 1);
            }
            let found = (0..step).filter(|&step| turns.generator_plays(step));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{steps} {long}");
        }
    }
}
