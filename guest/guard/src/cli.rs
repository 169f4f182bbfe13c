//! What the functions see of their environment: the API's address, and streams that lead nowhere.

use crate::Component;
use crate::bindings::exports::wasi::cli::{environment, exit, stderr, stdin, stdout};
use crate::bindings::exports::wasi::io::streams::{InputStream, OutputStream};
use crate::prelude::*;
use crate::state;
use crate::streams::{Input, Output};

impl environment::Guest for Component {
    fn get_environment() -> Vec<(String, String)> {
        state::with(|guard| guard.environment())
    }

    fn get_arguments() -> Vec<String> {
        Vec::new()
    }

    fn initial_cwd() -> Option<String> {
        None
    }
}

impl exit::Guest for Component {
    /// Refuses to exit: it would end the runtime's program, with a success that nobody saw.
    fn exit(_: Result<(), ()>) {
        state::with(|guard| guard.refuse("the component tried to exit"));
    }

    fn exit_with_code(_: u8) {
        state::with(|guard| guard.refuse("the component tried to exit"));
    }
}

impl stdin::Guest for Component {
    fn get_stdin() -> InputStream {
        InputStream::new(Input::empty())
    }
}

impl stdout::Guest for Component {
    fn get_stdout() -> OutputStream {
        OutputStream::new(Output::nowhere())
    }
}

impl stderr::Guest for Component {
    fn get_stderr() -> OutputStream {
        OutputStream::new(Output::nowhere())
    }
}
