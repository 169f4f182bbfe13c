//! The function that the compiler compares memory with, which is in no library without `std`.

#![expect(unsafe_code, reason = "this reads raw memory")]

/// Compares memory for the compiler: several bytes at a time, where the C library compares single bytes.
///
/// # Safety
///
/// As for `compare`.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: as above.
    unsafe { compare(left, right, length) }
}

/// Returns less than 0, 0 or more than 0, as the first bytes that differ do.
///
/// # Safety
///
/// Both pointers must be valid for this many bytes.
#[inline(always)]
unsafe fn compare(left: *const u8, right: *const u8, length: usize) -> i32 {
    let mut at = 0;
    // SAFETY: every read is within the length.
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
        // Few bytes are left, or they differ.
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

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn memory_is_compared_like_slices() {
        for length in 0..40 {
            let left = vec![7_u8; length];
            // SAFETY: both have this length.
            assert_eq!(unsafe { compare(left.as_ptr(), left.as_ptr(), length) }, 0);
            for (at, byte) in (0..length).flat_map(|at| [(at, 0_u8), (at, 255)]) {
                let mut right = left.clone();
                right[at] = byte;
                // A later difference does not count.
                right[at + 1..].fill(255 - byte);
                // SAFETY: as above.
                let found = unsafe { compare(left.as_ptr(), right.as_ptr(), length) };
                assert_eq!(found.cmp(&0), left.cmp(&right), "{length} {at}");
            }
        }
    }
}
