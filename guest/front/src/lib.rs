//! The front of a guarded component. It exports the functions, and for each call it asks the guard for a
//! grant, calls the functions behind it, and ends the grant.
//!
//! It trusts the guard, and not the functions: their result is passed on only if the guard agrees.
//!
//! What it exports and what it imports have the same types, so it passes arguments and results on in the form of
//! the canonical ABI. It reads the arguments alone, to write them as JSON for the guard.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only tests use it"))]
mod json;
#[cfg(target_arch = "wasm32")]
#[path = "../../src/runtime.rs"]
mod runtime;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "the canonical ABI moves values through raw memory")]
mod functions {
    use crate::json::{self, Form, params};
    use crate::runtime;
    use core::alloc::Layout;
    use core::ptr::{self, with_exposed_provenance};

    #[link(wasm_import_module = "whereby:guard/grants@0.1.0")]
    unsafe extern "C" {
        #[link_name = "open"]
        fn open(
            name: *const u8,
            length: usize,
            json: *const u8,
            json_length: usize,
            refusal: *mut u32,
        );
        #[link_name = "close"]
        fn close(ending: u32, text: u32, length: u32, refusal: *mut u32);
    }

    /// The world, for the linker.
    #[expect(dead_code, reason = "the linker alone reads it")]
    #[unsafe(link_section = "component-type:whereby-front")]
    static WORLD: [u8; include_bytes!(concat!(env!("OUT_DIR"), "/world.bin")).len()] =
        *include_bytes!(concat!(env!("OUT_DIR"), "/world.bin"));

    include!(concat!(env!("OUT_DIR"), "/functions.rs"));

    /// Makes a call under a grant. `words` are the arguments, `size` is that of the result in bytes, and `error`
    /// is where an error is in it. Returns the address of the result, which stays until the next call.
    fn guarded(
        function: &str,
        params: &Form,
        words: &[u32],
        size: usize,
        error: usize,
        call: &dyn Fn(*mut u64),
    ) -> *const u64 {
        runtime::begin_call();
        let result = allocate(size).cast::<u64>();
        // Whether there is a refusal, which it is, and where its reason is.
        let mut refusal = [0_u32; 4];
        let json = json::write(&part, params, words.as_ptr().expose_provenance() as u32);
        // SAFETY: the names and the JSON stay until the guard returns, and a refusal has four words.
        unsafe {
            open(
                function.as_ptr(),
                function.len(),
                json.as_ptr(),
                json.len(),
                refusal.as_mut_ptr(),
            );
        }
        if refusal[0] & 0xff == 0 {
            call(result);
            // SAFETY: the result is written, and a refusal has four words.
            unsafe {
                let (ending, text, length) = ending(result.cast(), error);
                close(ending, text, length, refusal.as_mut_ptr());
            }
        }
        // The guard's reason comes before the functions' result, whatever that is.
        if refusal[0] & 0xff != 0 {
            // The runtime has checked which it is.
            let case = ERRORS.get((refusal[1] & 0xff) as usize).copied().unwrap_or_default();
            // The error: its case, and the address and the length of its text.
            let start = result.cast::<u8>().wrapping_add(error).cast::<u32>();
            for (index, word) in [case.into(), refusal[2], refusal[3]].into_iter().enumerate() {
                // SAFETY: these three words are in the result.
                unsafe { start.wrapping_add(index).write(word) };
            }
            // SAFETY: as above. This says that it is an error.
            unsafe { result.cast::<u8>().write(1) };
        }
        runtime::end_call();
        result
    }

    /// Returns how a call ended, and the address and length of its message if the guard needs it.
    ///
    /// # Safety
    ///
    /// This must be a result whose error begins after this many bytes.
    unsafe fn ending(result: *const u8, error: usize) -> (u32, u32, u32) {
        // SAFETY: a result begins with a byte that says whether it is an error, and an error with one that says
        // which. An error that leaves the change open has the address and the length of its message after it.
        unsafe {
            if result.read() == 0 {
                return (SUCCESS.into(), 0, 0);
            }
            let start = result.add(error);
            let ending = ENDINGS.get(usize::from(start.read())).copied().unwrap_or(FAILURE);
            if ending == FAILURE {
                return (ending.into(), 0, 0);
            }
            let words = start.cast::<u32>();
            (ending.into(), words.add(1).read(), words.add(2).read())
        }
    }

    /// Returns memory for a result. It stays until the next call.
    fn allocate(size: usize) -> *mut u8 {
        // SAFETY: the size of a result is not zero, and fits. The allocator traps rather than return null.
        unsafe { alloc::alloc::alloc(Layout::from_size_align_unchecked(size, 8)) }
    }

    /// Returns a part of memory: an argument, or a part of one.
    fn part(address: u32, length: u32) -> &'static [u8] {
        let start = with_exposed_provenance::<u8>(address as usize);
        // SAFETY: the runtime has put the arguments there. Nothing changes them while they are read, and the
        // runtime passes no address of an empty one as null.
        unsafe { &*ptr::slice_from_raw_parts(start, length as usize) }
    }
}
