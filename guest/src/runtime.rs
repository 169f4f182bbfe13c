//! Replaces what `std` would provide: an allocator, a panic handler, and the function with which the host
//! allocates memory.
//!
//! With `std` the component would be 50 % larger, mostly for writing panic messages, and would import the
//! standard streams.

#![expect(unsafe_code, reason = "memory is handed out and taken back here")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator, Dlmalloc};

// The compiler expects the C library to compare memory. Nothing else of it is used.
#[link(name = "c")]
unsafe extern "C" {
    /// The start of the memory that the linker leaves unused.
    static __heap_base: u8;
}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)));

/// The heap of the only thread.
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

/// Memory for the heap: first the initial memory of the instance, which is free, then more, for which
/// the host has to change the protection of pages.
struct Pages;

/// Whether the initial memory is in use.
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

/// Traps. No input makes this component panic, so there is no message.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Allocates memory for the strings and lists that the host passes in: `cabi_realloc` of the canonical
/// ABI.
///
/// # Safety
///
/// The host calls it with a pointer that it got here, or with null.
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
