//! Replaces parts of `std`: an allocator and a panic handler.

use core::alloc::Layout;
use core::arch::wasm32::unreachable;
use core::panic::PanicInfo;

/// Unlike the functions, the guard keeps its instance for many calls, so memory must be freed.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

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
#[expect(unsafe_code, reason = "the canonical ABI names the function")]
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
