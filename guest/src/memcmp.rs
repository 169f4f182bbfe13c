//! The function that the compiler compares memory with, which is in no library without `std`.

#![expect(unsafe_code, reason = "this reads raw memory")]

/// Compares memory for the compiler: eight bytes at a time, where the C library compares single bytes.
///
/// # Safety
///
/// Both pointers must be valid for this many bytes.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    const WORD: usize = size_of::<u64>();
    let mut at = 0;
    // SAFETY: every offset is below the length.
    unsafe {
        while at + WORD <= length {
            let word = |from: *const u8| from.add(at).cast::<u64>().read_unaligned();
            let (left, right) = (word(left), word(right));
            if left != right {
                return if left.to_be() < right.to_be() { -1 } else { 1 };
            }
            at += WORD;
        }
        while at < length {
            let (left, right) = (*left.add(at), *right.add(at));
            if left != right {
                return i32::from(left) - i32::from(right);
            }
            at += 1;
        }
    }
    0
}
