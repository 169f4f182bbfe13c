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
        let eight = |from: *const u8, at: usize| from.add(at).cast::<u64>().read_unaligned();
        let four = |from: *const u8, at: usize| from.add(at).cast::<u32>().read_unaligned();
        while at + 8 <= length && eight(left, at) == eight(right, at) {
            at += 8;
        }
        // What is left is compared with bytes before it, which are equal.
        let is_end = length >= 8 && at + 8 > length;
        if is_end && eight(left, length - 8) == eight(right, length - 8) {
            return 0;
        }
        if at + 4 <= length && four(left, at) == four(right, at) {
            at += 4;
        }
        // What is left is short, or its first bytes differ.
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
