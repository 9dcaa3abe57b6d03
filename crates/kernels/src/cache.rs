//! The caches of this machine, where kernels cut or copy by what they hold.
//!
//! Only what changes no bit of a result may depend on them.

use std::cell::Cell;
use std::sync::OnceLock;

/// Bytes in a line, on every machine we know.
pub(crate) const LINE: usize = 64;

/// A core's cache for data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cache {
    /// How much it holds.
    pub bytes: usize,
    /// How many lines whose addresses differ by a multiple of `bytes / ways` it holds.
    pub ways: usize,
}

impl Cache {
    /// One that was detected, if it is of a size that caches have: a hypervisor may say anything.
    fn or_usual(self, detected: Option<Cache>) -> Cache {
        detected
            .filter(|it| (self.bytes / 4..=self.bytes * 8).contains(&it.bytes) && it.ways > 0)
            .unwrap_or(self)
    }
}

thread_local! {
    /// Set by [`with_caches`].
    static INSTEAD: Cell<Option<[Cache; 2]>> = const { Cell::new(None) };
}

/// Runs `f` with other caches, as far as it stays on this thread: tests ask what differs.
pub fn with_caches(l1: Cache, l2: Cache, f: impl FnOnce()) {
    let before = INSTEAD.replace(Some([l1, l2]));
    f();
    INSTEAD.set(before);
}

/// The first level.
pub(crate) fn l1() -> Cache {
    const USUAL: Cache = Cache {
        bytes: 32 << 10,
        ways: 8,
    };
    static L1: OnceLock<Cache> = OnceLock::new();
    if let Some([l1, _]) = INSTEAD.get() {
        return l1;
    }
    *L1.get_or_init(|| USUAL.or_usual(detect(1)))
}

/// The second level.
pub(crate) fn l2() -> Cache {
    const USUAL: Cache = Cache {
        bytes: 1 << 20,
        ways: 16,
    };
    static L2: OnceLock<Cache> = OnceLock::new();
    if let Some([_, l2]) = INSTEAD.get() {
        return l2;
    }
    *L2.get_or_init(|| USUAL.or_usual(detect(2)))
}

/// The cache of a level that holds data, as `cpuid` describes it: leaf 4 of Intel's processors, 8000001D of
/// AMD's, which have one format.
#[cfg(target_arch = "x86_64")]
fn detect(level: u32) -> Option<Cache> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// More caches than any processor lists.
    const MOST: u32 = 16;
    // SAFETY: every x86-64 processor has this instruction. Newer compilers know that, too.
    #[allow(unused_unsafe)]
    let exists = |leaf: u32| unsafe { __cpuid(leaf & 0x8000_0000).eax >= leaf };
    let caches = |leaf: u32| {
        (0..MOST)
            .map(move |i| {
                // SAFETY: as above.
                #[allow(unused_unsafe)]
                unsafe {
                    __cpuid_count(leaf, i)
                }
            })
            .take_while(|cache| cache.eax & 0x1f != 0)
    };
    [4, 0x8000_001d]
        .into_iter()
        .filter(|&leaf| exists(leaf))
        .flat_map(caches)
        // Of the kinds, 2 is for instructions alone.
        .find(|cache| cache.eax >> 5 & 7 == level && cache.eax & 0x1f != 2)
        .map(|cache| {
            let field =
                |shift: u32, bits: u32| (cache.ebx >> shift & ((1 << bits) - 1)) as usize + 1;
            let (line, partitions, ways) = (field(0, 12), field(12, 10), field(22, 10));
            let sets = cache.ecx as usize + 1;
            Cache {
                bytes: line * partitions * ways * sets,
                ways,
            }
        })
}

#[cfg(not(target_arch = "x86_64"))]
fn detect(_: u32) -> Option<Cache> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_cache_is_like_does_not_count() {
        let usual = l2();
        for bytes in [0, 1 << 10, 1 << 30] {
            assert_eq!(usual.or_usual(Some(Cache { bytes, ways: 4 })), usual);
        }
        assert_eq!(usual.or_usual(None), usual);
        let larger = Cache {
            bytes: 2 * usual.bytes,
            ways: 16,
        };
        assert_eq!(usual.or_usual(Some(larger)), larger);
    }

    /// The system reads the same registers.
    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_system_says_the_same() {
        let of = |i: usize, what: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{what}");
            std::fs::read_to_string(path).map(|text| text.trim().to_owned())
        };
        for level in [1, 2] {
            let index = (0..8).find(|&i| {
                of(i, "level").is_ok_and(|found| found == level.to_string())
                    && of(i, "type").is_ok_and(|kind| kind != "Instruction")
            });
            let sizes = index.and_then(|i| {
                let ways = of(i, "ways_of_associativity").ok()?.parse().ok()?;
                Some((of(i, "size").ok()?, ways))
            });
            let (Some((size, ways)), Some(detected)) = (sizes, detect(level)) else {
                eprintln!("skipped: level {level} is not listed");
                continue;
            };
            assert_eq!(format!("{}K", detected.bytes >> 10), size, "level {level}");
            assert_eq!(detected.ways, ways, "level {level}");
        }
    }
}
