//! Replaces parts of `std`: an allocator, a panic handler, and the function that the host calls to
//! allocate memory.
//!
//! With `std`, the component would be 50 % larger, mostly for panic messages, and would import the standard
//! streams.

#![expect(unsafe_code, reason = "this is the allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator, Dlmalloc};

// The compiler needs the C library's memory comparison. Nothing else of the library is used.
#[link(name = "c")]
unsafe extern "C" {
    /// The start of the memory that the linker leaves unused.
    static __heap_base: u8;
}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)));

/// The heap of the only thread.
struct Heap(UnsafeCell<Dlmalloc<Pages>>);

// SAFETY: a component has one thread, and the allocator calls nothing that allocates.
unsafe impl Sync for Heap {}

// SAFETY: `GlobalAlloc` and `Dlmalloc` have the same requirements for callers.
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

/// Memory for the heap: first the instance's initial memory, which costs nothing, then new pages, whose
/// protection the host has to change.
struct Pages;

/// Whether the initial memory is in use.
static STARTED: AtomicBool = AtomicBool::new(false);

// SAFETY: every region is handed out once and never reclaimed.
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

/// Traps without a message, because no input makes this component panic.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
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
    // SAFETY: by the canonical ABI, `align` is a power of two, the sizes fit, `old` comes from this
    // allocator with that size and alignment, and the new size is not zero.
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
