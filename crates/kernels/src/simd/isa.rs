//! The one list of instruction sets, and which of them this machine has.

use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

/// Every instruction set the kernels are written for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsaKind {
    /// `wide` vectors at the baseline of the target: always there.
    Portable,
    /// 128-bit vectors of AArch64.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors: AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl IsaKind {
    /// All kinds, slowest first; drives dispatch, tests and the command's messages.
    pub const ALL: &[IsaKind] = &[
        IsaKind::Portable,
        IsaKind::Neon,
        IsaKind::Avx2,
        IsaKind::Avx512,
    ];

    /// The name that `KERNELS_ISA` takes.
    pub const fn name(self) -> &'static str {
        match self {
            IsaKind::Portable => "portable",
            IsaKind::Neon => "neon",
            IsaKind::Avx2 => "avx2",
            IsaKind::Avx512 => "avx512",
        }
    }

    fn detected(self) -> bool {
        match self {
            IsaKind::Portable => true,
            #[cfg(target_arch = "aarch64")]
            IsaKind::Neon => true,
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 => {
                IsaKind::Avx2.detected()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
}

/// Proof that this machine has an instruction set: only detection makes one, so holding it is
/// what makes calling a `#[target_feature]` function sound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(IsaKind);

/// `KERNELS_ISA` asked for something this machine or this build does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaError {
    found: String,
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Isa::available().map(|isa| isa.kind().name()).collect();
        write!(
            f,
            "KERNELS_ISA: expected one of {} (what this machine has), found {:?}",
            names.join(", "),
            self.found
        )
    }
}

impl std::error::Error for IsaError {}

thread_local! {
    /// Set by [`Isa::scoped`]; beats the process-wide choice on this thread.
    static SCOPED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// The instruction set `kind`, if this machine has it.
    pub fn detect(kind: IsaKind) -> Option<Isa> {
        kind.detected().then_some(Isa(kind))
    }

    /// Every instruction set of this machine, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        IsaKind::ALL.iter().filter_map(|&kind| Isa::detect(kind))
    }

    /// Which one this is.
    pub const fn kind(self) -> IsaKind {
        self.0
    }

    /// The choice for this process: `KERNELS_ISA` if set, else the fastest detected.
    pub fn from_env() -> Result<Isa, IsaError> {
        match std::env::var("KERNELS_ISA") {
            Ok(name) if !name.is_empty() => Isa::available()
                .find(|isa| isa.kind().name() == name)
                .ok_or(IsaError { found: name }),
            _ => Ok(Isa::available().last().expect("portable is always there")),
        }
    }

    /// The instruction set kernels called from this thread use. Read once per slice or tile.
    ///
    /// # Panics
    /// If `KERNELS_ISA` names something this machine does not have; a program that wants to say
    /// so politely calls [`Isa::from_env`] first.
    #[inline]
    pub fn current() -> Isa {
        static PROCESS: OnceLock<Isa> = OnceLock::new();
        SCOPED.get().unwrap_or_else(|| {
            *PROCESS.get_or_init(|| Isa::from_env().unwrap_or_else(|error| panic!("{error}")))
        })
    }

    /// Runs `f` with this instruction set on this thread, as tests and benchmarks do. Kernels
    /// read the choice where they are entered and hand it to the threads they use.
    pub fn scoped<R>(self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<Isa>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SCOPED.set(self.0);
            }
        }
        let _restore = Restore(SCOPED.replace(Some(self)));
        f()
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scoped_choice_ends_with_its_scope() {
        let before = Isa::current();
        let portable = Isa::detect(IsaKind::Portable).unwrap();
        portable.scoped(|| assert_eq!(Isa::current(), portable));
        assert_eq!(Isa::current(), before);
    }
}
