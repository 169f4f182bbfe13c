//! The terminal on standard input: its echo and line editing, its unread input, and the full screen.

#[cfg(unix)]
pub(super) use unix::{Settings, discard_input, restore};

#[cfg(unix)]
mod unix {
    use rustix::termios::{
        LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
    };
    use std::io;
    use std::sync::{Mutex, PoisonError};

    /// What to restore before the program ends.
    static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

    struct Saved {
        settings: Termios,
        /// Whether the program has the whole screen.
        is_full_screen: bool,
    }

    /// The other screen, without a cursor, on which pasted text is marked.
    #[cfg(feature = "inbox")]
    const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h";

    /// The screen as it was, with a cursor.
    const LEAVE: &[u8] = b"\x1b[0m\x1b[?2004l\x1b[?25h\x1b[?1049l";

    /// Restores the terminal's settings when dropped, or when a signal ends the program.
    pub(in super::super) struct Settings(());

    impl Settings {
        /// Saves the current settings.
        pub(in super::super) fn save() -> io::Result<Self> {
            let saved = Saved { settings: tcgetattr(io::stdin())?, is_full_screen: false };
            *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
            Ok(Self(()))
        }

        /// Turns off echo and line editing, and discards unread input.
        pub(in super::super) fn hide_typing() -> io::Result<Self> {
            let saved = Self::save()?;
            let mut modes = tcgetattr(io::stdin())?;
            modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
            tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
            Ok(saved)
        }

        /// Takes the whole screen on standard output, and every key as it is typed.
        #[cfg(feature = "inbox")]
        pub(in super::super) fn full_screen() -> io::Result<Self> {
            let saved = Self::save()?;
            let mut modes = tcgetattr(io::stdin())?;
            modes.make_raw();
            tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
            if let Some(saved) = &mut *SAVED.lock().unwrap_or_else(PoisonError::into_inner) {
                saved.is_full_screen = true;
            }
            write_all(ENTER)?;
            Ok(saved)
        }
    }

    /// Writes to standard output without its lock, which a thread that panics may have.
    fn write_all(mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(io::stdout(), bytes))?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    impl Drop for Settings {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Restores the saved settings, if any.
    pub(in super::super) fn restore() {
        let before = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
        // In all of this, the terminal may be closed.
        let Some(Saved { settings, is_full_screen }) = before else { return };
        if is_full_screen {
            let _ = write_all(LEAVE);
            // Keys for the screen are not for the shell.
            let _ = discard_input();
        }
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
    }

    /// Discards unread input.
    pub(in super::super) fn discard_input() -> io::Result<()> {
        Ok(tcflush(io::stdin(), QueueSelector::IFlush)?)
    }
}

#[cfg(not(unix))]
pub(super) use other::{Settings, discard_input, restore};

#[cfg(not(unix))]
mod other {
    use std::io;

    /// Does nothing: the terminal's settings cannot be changed on this system.
    pub(in super::super) struct Settings(());

    impl Settings {
        pub(in super::super) fn save() -> io::Result<Self> {
            Ok(Self(()))
        }

        pub(in super::super) fn hide_typing() -> io::Result<Self> {
            Err(io::Error::other("this terminal cannot hide the key; pipe it to standard input"))
        }
    }

    pub(in super::super) fn restore() {}

    pub(in super::super) fn discard_input() -> io::Result<()> {
        Ok(())
    }
}
