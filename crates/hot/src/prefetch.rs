//! Asking the processor to fetch a line of memory before it is needed.

use crate::sync::AtomicU64;

/// Asks for the cache line of `words[word]`; does nothing where there is no such instruction.
///
/// `word` may lie outside the slice: a prefetch never faults and never changes what is read later.
#[inline(always)]
pub(crate) fn prefetch(words: &[AtomicU64], word: usize) {
    let address = words.as_ptr().wrapping_add(word);
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint; it dereferences nothing, whatever the address is, and SSE is
        // part of every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        // SAFETY: PRFM is a hint; it dereferences nothing and changes neither memory nor flags.
        unsafe {
            std::arch::asm!(
                "prfm pldl1keep, [{0}]",
                in(reg) address,
                options(nostack, preserves_flags, readonly)
            );
        }
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}
