//! Replaces parts of `std`: an allocator and a panic handler.

#![expect(unsafe_code, reason = "this is the allocator")]

use core::alloc::Layout;
use core::arch::wasm32::{memory_grow, memory_size, unreachable};
use core::cell::Cell;
use core::panic::PanicInfo;

use crate::heap::{Heap, Source};

unsafe extern "C" {
    /// The start of the memory that the linker leaves unused.
    static __heap_base: u8;
}

/// The unit in which memory grows, in bytes.
const PAGE: usize = 64 * 1024;

#[global_allocator]
static HEAP: Heap<Memory> = Heap::new(Memory { is_begun: Cell::new(false) });

/// The instance's memory.
struct Memory {
    /// Whether the initial memory was given out.
    is_begun: Cell<bool>,
}

impl Source for Memory {
    // Inlined for the same reason as in `heap.rs`: see `host/build/direct.rs`.
    #[inline(always)]
    fn more(&self, size: usize) -> Option<(*mut u8, usize)> {
        let (mut start, mut end) = (0, memory_size(0) * PAGE);
        if !self.is_begun.replace(true) {
            start = (&raw const __heap_base as usize).next_multiple_of(8);
        }
        if start == 0 || end - start < size {
            let grown = memory_grow(0, size.div_ceil(PAGE));
            if grown == usize::MAX {
                return None;
            }
            if start == 0 {
                start = grown * PAGE;
            }
            end = memory_size(0) * PAGE;
        }
        Some((core::ptr::with_exposed_provenance_mut(start), end - start))
    }
}

/// Traps without a message.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unreachable()
}

/// Allocates memory for the strings and lists that are passed in: the canonical ABI's `cabi_realloc`.
///
/// # Safety
///
/// The pointer must be null or come from this function.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    new_size: usize,
) -> *mut u8 {
    if old_size == 0 && new_size == 0 {
        return core::ptr::without_provenance_mut(align);
    }
    // A list can be larger than a layout.
    if new_size > isize::MAX as usize {
        unreachable()
    }
    // SAFETY: by the canonical ABI, `align` is a power of two, `old` comes from this allocator with that size and
    // alignment, and the new size is not zero. The sizes fit: the old one did.
    let block = unsafe {
        if old_size == 0 {
            alloc::alloc::alloc(Layout::from_size_align_unchecked(new_size, align))
        } else {
            let layout = Layout::from_size_align_unchecked(old_size, align);
            alloc::alloc::realloc(old, layout, new_size)
        }
    };
    if block.is_null() { unreachable() } else { block }
}
