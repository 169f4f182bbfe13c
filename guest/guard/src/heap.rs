//! The allocator. It frees memory, because the guard keeps its instance for many calls.
//!
//! The size of a block is a power of two. A free block is in the list of its size, and begins with the address of
//! the next one. Memory that was never used is given out from bottom to top.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::null_mut;

/// The size of the smallest block, in bytes. It is also the alignment of all blocks.
const UNIT: usize = 8;

/// One list for each power of two.
const SIZES: usize = usize::BITS as usize;

/// Where new memory comes from.
pub(crate) trait Source {
    /// Returns the start and the size of unused memory of at least this size, aligned to 8 bytes.
    fn more(&self, size: usize) -> Option<(*mut u8, usize)>;
}

/// The heap of an instance.
pub(crate) struct Heap<S> {
    source: S,
    free: [Cell<*mut u8>; SIZES],
    next: Cell<*mut u8>,
    left: Cell<usize>,
}

impl<S> Heap<S> {
    pub(crate) const fn new(source: S) -> Self {
        Self {
            source,
            free: [const { Cell::new(null_mut()) }; SIZES],
            next: Cell::new(null_mut()),
            left: Cell::new(0),
        }
    }
}

/// Returns the size of the block for a layout, and its list.
// Inlined: its result would be returned through the stack, which `cabi_realloc` can't use.
#[inline(always)]
fn block(layout: Layout) -> (usize, usize) {
    let size = layout.size().max(UNIT).next_power_of_two();
    (size, size.trailing_zeros() as usize % SIZES)
}

// SAFETY: a component has one thread.
unsafe impl<S> Sync for Heap<S> {}

// SAFETY: a block is in a list, or in use, or after `next`: in one of them alone. It is as large as its list says,
// and `dealloc` finds the list that `alloc` took, because both get the same layout.
unsafe impl<S: Source> GlobalAlloc for Heap<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Nothing here needs more.
        if layout.align() > UNIT {
            return null_mut();
        }
        let (size, list) = block(layout);
        let first = self.free[list].get();
        if !first.is_null() {
            // SAFETY: a free block begins with the address of the next one.
            self.free[list].set(unsafe { first.cast::<*mut u8>().read() });
            return first;
        }
        if size > self.left.get() {
            let Some((start, more)) = self.source.more(size) else { return null_mut() };
            // What is left stays if the new memory follows it.
            if start == self.next.get().wrapping_add(self.left.get()) {
                self.left.set(self.left.get() + more);
            } else {
                self.next.set(start);
                self.left.set(more);
            }
        }
        let start = self.next.get();
        self.next.set(start.wrapping_add(size));
        self.left.set(self.left.get() - size);
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        let list = &self.free[block(layout).1];
        // SAFETY: the block is not in use any more, and has room for an address.
        unsafe { start.cast::<*mut u8>().write(list.replace(start)) };
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller ensures that the size is valid for the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if block(wanted) == block(layout) {
            return start;
        }
        // SAFETY: the caller ensures that the block has this layout; a block of another size is another block.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(start, new, layout.size().min(size));
                self.dealloc(start, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few pages of memory. Some follow each other.
    struct Pages(Cell<usize>, *mut u8);

    const PAGE: usize = 1024;
    const PAGES: usize = 64;

    impl Source for Pages {
        fn more(&self, size: usize) -> Option<(*mut u8, usize)> {
            let first = self.0.get();
            let count = size.div_ceil(PAGE);
            // Every fifth time, a page is left out.
            let skipped = usize::from(first % 5 == 4);
            let end = first.checked_add(skipped)?.checked_add(count).filter(|end| *end <= PAGES)?;
            self.0.set(end);
            Some((self.1.wrapping_add((first + skipped) * PAGE), count * PAGE))
        }
    }

    fn heap() -> Heap<Pages> {
        let memory = vec![0_u64; PAGE * PAGES / 8].leak();
        Heap::new(Pages(Cell::new(0), memory.as_mut_ptr().cast()))
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a layout")
    }

    /// A block in use, and the byte that fills it.
    struct Used(*mut u8, usize, u8);

    impl Used {
        fn fill(&self) {
            // SAFETY: the block is in use, and this large.
            unsafe { self.0.write_bytes(self.2, self.1) };
        }

        fn assert_kept(&self, size: usize) {
            // SAFETY: as above.
            let bytes = unsafe { core::slice::from_raw_parts(self.0, size) };
            assert!(bytes.iter().all(|byte| *byte == self.2), "another block was written");
        }
    }

    #[test]
    fn blocks_do_not_overlap_and_are_used_again() {
        let heap = heap();
        let mut used: Vec<Used> = Vec::new();
        // A simple sequence of numbers without a pattern.
        let mut state = 7_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        // Without freeing, this would take far more memory than there is.
        for round in 0..20_000_u32 {
            let full = used.len() > 20;
            match random(3) {
                0 if !full => {
                    let size = 1 + random(500);
                    // SAFETY: the size is not zero.
                    let start = unsafe { heap.alloc(layout(size)) };
                    assert!(!start.is_null() && start.addr() % UNIT == 0, "round {round}");
                    used.push(Used(start, size, round as u8));
                }
                1 if !used.is_empty() => {
                    let block = used.swap_remove(random(used.len()));
                    block.assert_kept(block.1);
                    // SAFETY: the block was in use, with this layout.
                    unsafe { heap.dealloc(block.0, layout(block.1)) };
                }
                _ if !used.is_empty() => {
                    let index = random(used.len());
                    let (block, size) = (&mut used[index], 1 + random(500));
                    // SAFETY: as above.
                    block.0 = unsafe { heap.realloc(block.0, layout(block.1), size) };
                    assert!(!block.0.is_null(), "round {round}");
                    block.assert_kept(block.1.min(size));
                    block.1 = size;
                }
                _ => continue,
            }
            used.iter().for_each(Used::fill);
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let heap = heap();
        let largest = layout(isize::MAX as usize + 1 - UNIT);
        let aligned = Layout::from_size_align(16, 16).expect("a layout");
        for wanted in [layout(PAGE * PAGES + 1), largest, aligned] {
            // SAFETY: the size is not zero.
            assert!(unsafe { heap.alloc(wanted) }.is_null());
        }
        // SAFETY: as above.
        assert!(!unsafe { heap.alloc(layout(PAGE)) }.is_null());
    }
}
