//! What `std` would bring along: an allocator, an end for panics, and the function by which the host
//! asks for memory.
//!
//! With `std` the component would be half as large again, most of that for writing a panic's
//! message, and would import the standard streams for it.

#![expect(unsafe_code, reason = "memory is handed out and taken back here")]

use core::alloc::Layout;
use core::panic::PanicInfo;

use dlmalloc::GlobalDlmalloc;

// The compiler leaves it to the C library to compare memory. Nothing else is taken from it.
#[link(name = "c")]
unsafe extern "C" {}

#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

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
