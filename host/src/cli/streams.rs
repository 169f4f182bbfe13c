//! Standard input, output and error, which tests can replace.

#[cfg(unix)]
use super::signal::Watch;
use super::{table, terminal};
use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use whereby_authority::text;

/// A stream that any thread can use.
type Shared<T> = Arc<Mutex<T>>;

/// The maximum length of a line that a person types, in bytes. The rest is ignored.
const MAX_LINE: usize = 4096;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// Standard input, output and error, and which of them are terminals.
#[derive(Clone)]
pub struct Streams {
    stdin: Shared<dyn Read + Send>,
    stdout: Shared<dyn Write + Send>,
    stderr: Shared<dyn Write + Send>,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether these are the streams of this process, whose terminal can be configured.
    pub(crate) is_process: bool,
    /// The signals of this process, if the program handles them.
    #[cfg(unix)]
    pub(super) signals: Option<Watch>,
    /// The width of the terminal, in columns; `None` if unknown.
    pub width: Option<u16>,
}

impl Streams {
    /// Returns streams for a program that embeds the command line. None of them is a terminal.
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
            #[cfg(unix)]
            signals: None,
            width: None,
        }
    }

    /// Returns the streams of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let mut streams = Self::new(io::stdin(), io::stdout(), io::stderr());
        streams.is_process = true;
        streams.stdin_is_terminal = io::stdin().is_terminal();
        streams.stdout_is_terminal = io::stdout().is_terminal();
        streams.stderr_is_terminal = io::stderr().is_terminal();
        let size = terminal_size::terminal_size_of(io::stdout());
        let size = size.or_else(|| terminal_size::terminal_size_of(io::stderr()));
        streams.width = size.map(|(width, _)| width.0);
        streams
    }

    /// Sets the text to print if a signal ends the program before anything listens for signals.
    pub(super) fn set_last_words(&self, words: Option<String>) {
        #[cfg(unix)]
        if let Some(watch) = &self.signals {
            watch.set_last_words(words);
        }
        #[cfg(not(unix))]
        drop(words);
    }

    /// Sets the exit status of a command that has printed its output. A signal then ends the program with it.
    pub(super) fn set_exit_code(&self, code: u8) {
        #[cfg(unix)]
        if let Some(watch) = &self.signals {
            watch.set_exit_code(code);
        }
        #[cfg(not(unix))]
        let _ = code;
    }

    pub(crate) fn stdout(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stderr(&self) -> MutexGuard<'_, dyn Write + Send + 'static> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes text to standard output at once.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = self.stdout();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes a message to standard error after a word such as `error:`, wrapped to fit the terminal.
    pub(super) fn note(&self, word: &str, message: &str) -> io::Result<()> {
        let width = self.width.filter(|_| self.stderr_is_terminal);
        writeln!(self.stderr(), "{}", table::message(&format!("{word} {message}"), width))
    }

    /// Reads all of standard input, at most `most` bytes. Omits a byte order mark at the beginning.
    pub(crate) fn read_to_end(&self, most: usize) -> io::Result<String> {
        let mut text = String::new();
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let read = (&mut *stdin).take(most as u64 + 1).read_to_string(&mut text)?;
        if read > most {
            return Err(io::Error::other(format!("more than {most} bytes")));
        }
        Ok(text::without_bom(&text).to_owned())
    }

    /// Asks for one line without echo. Returns [`io::ErrorKind::Interrupted`] on Ctrl-C.
    pub(crate) fn read_secret(&self, question: &str, most: usize) -> io::Result<String> {
        // Turns echo off before the question, so that even a fast reply is hidden.
        let _hidden = if self.is_process { Some(terminal::Settings::hide_typing()?) } else { None };
        write!(self.stderr(), "{question}")?;
        self.stderr().flush()?;
        let line = self.read_keys(most);
        // Enter was not echoed.
        writeln!(self.stderr())?;
        line
    }

    fn read_keys(&self, most: usize) -> io::Result<String> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() <= most {
            let read = stdin.read(&mut byte)?;
            // Without echo, the terminal does not edit the line.
            match byte[0] {
                _ if read == 0 => break,
                b'\n' | b'\r' | CTRL_D => break,
                CTRL_C => return Err(io::ErrorKind::Interrupted.into()),
                DELETE | BACKSPACE => drop(line.pop()),
                CTRL_U => line.clear(),
                typed => line.push(typed),
            }
        }
        if line.len() > most {
            return Err(io::Error::other(format!("more than {most} bytes")));
        }
        String::from_utf8(line).map_err(io::Error::other)
    }

    /// Asks a question and reads one line. Discards what was typed or pasted before the question.
    pub(crate) fn ask(&self, question: &str) -> io::Result<String> {
        if self.is_process && self.stdin_is_terminal {
            terminal::discard_input()?;
        }
        write!(self.stderr(), "{question}")?;
        self.stderr().flush()?;
        self.read_line()
    }

    /// Reads one line from a person; of a very long line, only the beginning.
    pub(crate) fn read_line(&self) -> io::Result<String> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            match stdin.read(&mut byte)? {
                // The end of input is not a reply.
                0 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                1 if byte[0] == b'\n' => break,
                // Ignores the rest of a long line, which must not become the next line.
                1 if line.len() < MAX_LINE => line.push(byte[0]),
                1 => {}
                _ => break,
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
