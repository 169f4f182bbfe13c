//! The settings of the terminal on standard input: how it echoes and edits what is typed, and what was
//! typed already.

#[cfg(unix)]
pub(super) use unix::{Settings, forget_typed, restore};

#[cfg(unix)]
mod unix {
    use rustix::termios::{
        LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
    };
    use std::io;
    use std::sync::{Mutex, PoisonError};

    /// The settings to put back before the program ends.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// Puts the terminal's settings back when it is dropped, or when a signal ends the program.
    pub(in super::super) struct Settings(());

    impl Settings {
        /// Keeps the settings as they are now.
        pub(in super::super) fn keep() -> io::Result<Self> {
            let before = tcgetattr(io::stdin())?;
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            Ok(Self(()))
        }

        /// Turns off echo and line editing, and drops what was typed before.
        pub(in super::super) fn hide_typing() -> io::Result<Self> {
            let kept = Self::keep()?;
            let mut modes = tcgetattr(io::stdin())?;
            modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
            tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
            Ok(kept)
        }
    }

    impl Drop for Settings {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Puts the settings back, if they were changed.
    pub(in super::super) fn restore() {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(before) = before {
            // A closed terminal shows nothing any more.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }

    /// Drops what was typed and not read yet.
    pub(in super::super) fn forget_typed() -> io::Result<()> {
        Ok(tcflush(io::stdin(), QueueSelector::IFlush)?)
    }
}

#[cfg(not(unix))]
pub(super) use other::{Settings, forget_typed, restore};

#[cfg(not(unix))]
mod other {
    use std::io;

    /// Here the terminal's settings cannot be changed.
    pub(in super::super) struct Settings(());

    impl Settings {
        pub(in super::super) fn keep() -> io::Result<Self> {
            Ok(Self(()))
        }

        pub(in super::super) fn hide_typing() -> io::Result<Self> {
            Err(io::Error::other("this terminal cannot hide what is typed; pipe the key in"))
        }
    }

    pub(in super::super) fn restore() {}

    pub(in super::super) fn forget_typed() -> io::Result<()> {
        Ok(())
    }
}
