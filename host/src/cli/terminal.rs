//! The terminal on standard input: its echo and line editing, and its unread input.

#[cfg(unix)]
pub(super) use unix::{Settings, discard_input, restore};

#[cfg(unix)]
mod unix {
    use rustix::termios::{
        LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
    };
    use std::io;
    use std::sync::{Mutex, PoisonError};

    /// The settings to restore before the program ends.
    static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

    /// Restores the terminal's settings when dropped, or when a signal ends the program.
    pub(in super::super) struct Settings(());

    impl Settings {
        /// Saves the current settings.
        pub(in super::super) fn save() -> io::Result<Self> {
            let before = tcgetattr(io::stdin())?;
            *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
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
    }

    impl Drop for Settings {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Restores the saved settings, if any.
    pub(in super::super) fn restore() {
        let before = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(before) = before {
            // The terminal may be closed.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
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
