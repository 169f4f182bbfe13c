//! What `std` would bring along: an allocator, an end for panics, and the function by which the host
//! asks for memory.
//!
//! With `std` the component would be half as large again, most of that for writing a panic's
//! message, and would import the standard streams for it.

#![expect(unsafe_code, reason = "memory is handed out and taken back here")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator, Dlmalloc};

// The compiler leaves it to the C library to compare memory. Nothing else is taken from it.
#[link(name = "c")]
unsafe extern "C" {
    /// Where the memory begins that nothing is linked into.
    static __heap_base: u8;
}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)));

/// The heap of the one thread that there is.
struct Heap(UnsafeCell<Dlmalloc<Pages>>);

// SAFETY: a component has one thread, and the allocator does not call back.
unsafe impl Sync for Heap {}

// SAFETY: what `GlobalAlloc` asks of its callers is what `Dlmalloc` asks of its own.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above, here and below.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { (*self.0.get()).free(block, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe { (*self.0.get()).realloc(block, layout.size(), layout.align(), size) }
    }
}

/// The unit in which memory grows, in bytes.
const PAGE: usize = 64 * 1024;

/// Memory for the heap: first what the instance has from the start, which costs the host nothing,
/// and then more, for which the host has to change the protection of pages.
struct Pages;

/// Whether the memory that was there from the start is handed out.
static STARTED: AtomicBool = AtomicBool::new(false);

// SAFETY: every region is handed out once and never taken back.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if !STARTED.swap(true, Ordering::Relaxed) {
            let start = &raw const __heap_base as usize;
            let rest = (memory_size(0) * PAGE).saturating_sub(start);
            if rest >= size {
                return (core::ptr::with_exposed_provenance_mut(start), rest, 0);
            }
        }
        let pages = size.div_ceil(PAGE);
        match memory_grow(0, pages) {
            usize::MAX => (core::ptr::null_mut(), 0, 0),
            start => (core::ptr::with_exposed_provenance_mut(start * PAGE), pages * PAGE, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

/// Traps. Nothing in this component panics on what comes from outside, so there is no message.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Gives the host memory for the texts and lists that it passes in: `cabi_realloc` of the canonical
/// ABI.
///
/// # Safety
///
/// The host calls it with what it was given before, or with nothing.
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
    // SAFETY: by the canonical ABI `align` is a power of two, the sizes fit, `old` is of this
    // allocator with that size and alignment, and the size is not reduced to nothing.
    let new = unsafe {
        if old_size == 0 {
            alloc::alloc::alloc(Layout::from_size_align_unchecked(new_size, align))
        } else {
            let layout = Layout::from_size_align_unchecked(old_size, align);
            alloc::alloc::realloc(old, layout, new_size)
        }
    };
    if new.is_null() {
        core::arch::wasm32::unreachable()
    }
    new
}
