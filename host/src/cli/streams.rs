//! The streams of the program, so that tests can be its terminal.

use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stream that may be read or written from any thread.
type Shared<T> = Arc<Mutex<T>>;

/// Standard input, output and error, and which of them are terminals.
#[derive(Clone)]
pub struct Streams {
    stdin: Shared<dyn Read + Send>,
    stdout: Shared<dyn Write + Send>,
    stderr: Shared<dyn Write + Send>,
    /// Whether a person types into standard input.
    pub stdin_is_terminal: bool,
    /// Whether a person reads standard output.
    pub stdout_is_terminal: bool,
    /// Whether a person reads standard error.
    pub stderr_is_terminal: bool,
    /// Whether they are those of this process, whose terminal can be edited on.
    pub(crate) is_process: bool,
    /// How wide the terminal of standard output is, in columns, where that is known.
    pub width: Option<u16>,
}

impl Streams {
    /// Streams of one's own, none of them a terminal.
    #[must_use]
    pub fn new(
        stdin: impl Read + Send + 'static,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> Self {
        Self {
            stdin: Arc::new(Mutex::new(stdin)),
            stdout: Arc::new(Mutex::new(stdout)),
            stderr: Arc::new(Mutex::new(stderr)),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            is_process: false,
            width: None,
        }
    }

    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let mut streams = Self::new(io::stdin(), io::stdout(), io::stderr());
        streams.is_process = true;
        streams.stdin_is_terminal = io::stdin().is_terminal();
        streams.stdout_is_terminal = io::stdout().is_terminal();
        streams.stderr_is_terminal = io::stderr().is_terminal();
        streams.width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
        streams
    }

    pub(crate) fn stdout(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stderr(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads standard input to its end, which must come within so many bytes.
    pub(crate) fn read_to_end(&self, most: usize) -> io::Result<String> {
        let mut text = String::new();
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let read = (&mut *stdin).take(most as u64 + 1).read_to_string(&mut text)?;
        if read > most {
            return Err(io::Error::other(format!("more than {most} bytes")));
        }
        Ok(text)
    }

    /// Reads one line that a person typed.
    pub(crate) fn read_line(&self) -> io::Result<String> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < 1024 {
            match stdin.read(&mut byte)? {
                // The end of input is no answer.
                0 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                1 if byte[0] != b'\n' => line.push(byte[0]),
                _ => break,
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
