//! Replaces parts of `std`: an allocator, a panic handler, and the function that the host calls to
//! allocate memory.
//!
//! With `std`, the component would be 50 % larger, mostly for panic messages, and would import the standard
//! streams.

#![expect(unsafe_code, reason = "this is the allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size, unreachable};
use core::cell::Cell;
use core::panic::PanicInfo;

#[path = "memcmp.rs"]
mod memcmp;

unsafe extern "C" {
    /// The start of the memory that the linker leaves unused.
    static __heap_base: u8;
}

/// The unit in which memory grows, in bytes.
const PAGE: usize = 64 * 1024;

#[global_allocator]
static HEAP: Heap = Heap {
    kept_for_good: Cell::new(0),
    start: Cell::new(0),
    next: Cell::new(0),
    end: Cell::new(0),
    is_over: Cell::new(false),
};

/// Allocates memory from bottom to top, and frees that of a call when the next one begins. Most instances make one
/// call. Without code that frees memory, the component is a quarter smaller.
struct Heap {
    /// The end of what is kept for good; 0 if that is nothing.
    kept_for_good: Cell<usize>,
    /// Where the memory of the next call starts; 0 if nothing is kept.
    start: Cell<usize>,
    /// The address where the next block can start.
    next: Cell<usize>,
    /// The end of the memory; 0 before the first allocation.
    end: Cell<usize>,
    /// Whether a call is over, so that the next one can use its memory.
    is_over: Cell<bool>,
}

/// Begins a call. It frees the memory of the one before, unless the arguments did.
pub(crate) fn begin_call() {
    if HEAP.is_over.replace(false) {
        HEAP.next.set(HEAP.start.get().max(heap_base()));
    }
}

/// Ends a call, whose result stays until the next one begins.
pub(crate) fn end_call() {
    HEAP.is_over.set(true);
}

/// Whether a call ended and no other has begun.
#[allow(dead_code, reason = "only the guard needs it")]
pub(crate) fn is_over() -> bool {
    HEAP.is_over.get()
}

/// Keeps the memory in use, for good or until this is called again. Otherwise, only what is kept for good is.
#[allow(dead_code, reason = "only the guard needs it")]
pub(crate) fn keep(for_good: bool, for_now: bool) {
    if for_good {
        HEAP.kept_for_good.set(HEAP.next.get());
    }
    HEAP.start.set(if for_now { HEAP.next.get() } else { HEAP.kept_for_good.get() });
}

/// Returns the size of what is kept, in bytes.
#[allow(dead_code, reason = "only the guard needs it")]
pub(crate) fn kept() -> usize {
    HEAP.start.get().saturating_sub(heap_base())
}

// SAFETY: a component has one thread.
unsafe impl Sync for Heap {}

// SAFETY: `next` is after all blocks in use.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.reserve(layout)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size <= layout.size() {
            return block;
        }
        // The last block grows in place.
        if block.addr() + layout.size() == self.next.get() {
            self.next.set(block.addr());
        }
        // SAFETY: the caller ensures that the size is valid for the alignment.
        let new = self.reserve(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        if new != block {
            // SAFETY: the new block is larger than the old one, and begins after it.
            unsafe { core::ptr::copy_nonoverlapping(block, new, layout.size()) };
        }
        new
    }
}

impl Heap {
    /// Returns a new block. Traps if there is not enough memory.
    fn reserve(&self, layout: Layout) -> *mut u8 {
        let start = self.next.get().next_multiple_of(layout.align());
        let next = start.saturating_add(layout.size());
        if next > self.end.get() {
            return self.grow(layout);
        }
        self.next.set(next);
        core::ptr::with_exposed_provenance_mut(start)
    }

    /// Returns a new block for which memory must grow. The first allocation takes the instance's initial
    /// memory, which costs nothing.
    #[cold]
    #[inline(never)]
    fn grow(&self, layout: Layout) -> *mut u8 {
        if self.end.get() == 0 {
            self.next.set(heap_base());
        } else {
            let next = self.next.get().saturating_add(layout.align()).saturating_add(layout.size());
            let missing = next.saturating_sub(self.end.get());
            if memory_grow(0, missing.div_ceil(PAGE)) == usize::MAX {
                unreachable()
            }
        }
        self.end.set(memory_size(0).saturating_mul(PAGE));
        self.reserve(layout)
    }
}

fn heap_base() -> usize {
    &raw const __heap_base as usize
}

/// Traps without a message, because no input makes this component panic.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unreachable()
}

/// Allocates memory for the strings and lists that the host passes in: the canonical ABI's
/// `cabi_realloc`.
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
    // A list can be larger than a layout. Its size is a multiple of its alignment.
    if new_size > isize::MAX as usize {
        unreachable()
    }
    // Arguments are the first thing that a call allocates.
    begin_call();
    // SAFETY: by the canonical ABI, `align` is a power of two, the sizes fit, `old` comes from this
    // allocator with that size and alignment, and the new size is not zero.
    unsafe {
        if old_size == 0 {
            alloc::alloc::alloc(Layout::from_size_align_unchecked(new_size, align))
        } else {
            let layout = Layout::from_size_align_unchecked(old_size, align);
            alloc::alloc::realloc(old, layout, new_size)
        }
    }
}
