//! The function that the compiler compares memory with, which is in no library without `std`.

#![expect(unsafe_code, reason = "this reads raw memory")]

/// Compares memory for the compiler: several bytes at a time, where the C library compares single bytes.
///
/// # Safety
///
/// Both pointers must be valid for this many bytes.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    let mut at = 0;
    // SAFETY: every offset is below the length.
    unsafe {
        let read_eight = |from: *const u8, at: usize| from.add(at).cast::<u64>().read_unaligned();
        let read_four = |from: *const u8, at: usize| from.add(at).cast::<u32>().read_unaligned();
        let eight = |at: usize| read_eight(left, at) == read_eight(right, at);
        let four = |at: usize| read_four(left, at) == read_four(right, at);
        while at + 8 <= length && eight(at) {
            at += 8;
        }
        // The last bytes together, even if some of them have been compared.
        let is_equal = if length >= 8 {
            at + 8 > length && eight(length - 8)
        } else {
            length >= 4 && four(0) && four(length - 4)
        };
        if is_equal {
            return 0;
        }
        // There are few left, or they differ.
        while at < length {
            let difference = i32::from(*left.add(at)) - i32::from(*right.add(at));
            if difference != 0 {
                return difference;
            }
            at += 1;
        }
    }
    0
}
