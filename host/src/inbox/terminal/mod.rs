//! The inbox as a screen on a terminal.
//!
//! `keys` turns bytes into keys, `state` says what they do, `view` draws, and [`Inbox::show`] is the loop.
//! The terminal itself comes from outside, as a [`Tty`].

mod keys;
mod state;
mod view;
mod words;

#[cfg(test)]
mod tests;

use super::{Decision, Filter, Inbox, Rules};
use crate::error::Error;
use crate::exit::Exit;
use crate::store::{Decider, Place, Terms};
use keys::Decoder;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use state::{Command, Data, Screen, View};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the screen follows what happens.
const PERIOD: Duration = Duration::from_millis(500);

/// A terminal in raw mode.
pub(crate) trait Tty {
    /// Returns what writes to it, at each flush.
    fn writer(&self) -> impl Write + 'static;

    /// Returns the number of columns and rows.
    fn size(&self) -> io::Result<(u16, u16)>;

    /// Discards what was typed until now.
    fn discard_input(&mut self) -> io::Result<()>;

    /// Waits until something is typed or the size changes.
    async fn next(&mut self) -> io::Result<Happening>;

    /// Waits for a signal that ends the program. Returns the exit status.
    async fn ended(&mut self) -> Exit;
}

/// What happens on a terminal.
#[derive(Debug)]
pub(crate) enum Happening {
    Typed(Vec<u8>),
    Resized,
    /// The terminal was closed.
    Closed,
    /// A signal ends the program.
    Ended(Exit),
}

impl Inbox {
    /// Shows the inbox on a terminal until the person quits. Returns the exit status.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the terminal cannot be used.
    pub(crate) async fn show(self, mut tty: impl Tty, colours: bool) -> Result<Exit, Error> {
        let inbox = Arc::new(self);
        let size = tty.size().map_err(broken)?;
        let area = |(width, height)| Rect::new(0, 0, width, height);
        let options = TerminalOptions { viewport: Viewport::Fixed(area(size)) };
        let backend = CrosstermBackend::new(tty.writer());
        let terminal = ratatui::Terminal::with_options(backend, options).map_err(broken)?;
        // Dropping it would print if the terminal was closed; `tty` restores everything.
        let mut terminal = ManuallyDrop::new(terminal);
        let mut screen: Option<Screen> = None;
        let mut decoder = Decoder::default();
        let mut command = Command::Read;
        let mut tick = Instant::now();
        loop {
            match (&mut screen, std::mem::replace(&mut command, Command::Draw)) {
                (_, Command::Quit) => return Ok(Exit::Success),
                (_, Command::Interrupt) => return Ok(Exit::Interrupted),
                (Some(_), Command::Draw) => {}
                (_, wanted) => {
                    let decided_at = screen.as_ref().and_then(|screen| screen.place_of(&wanted));
                    let view = screen.as_ref().map_or(View::Waiting, |screen| screen.view);
                    let filter = screen.as_ref().map(|screen| screen.filter.clone());
                    let work = blocking(&inbox, move |inbox| {
                        let said = perform(inbox, wanted);
                        (said, read(inbox, view, &filter.unwrap_or_default()))
                    });
                    let (said, data) = tokio::select! {
                        biased;
                        exit = tty.ended() => return Ok(exit),
                        done = work => done?,
                    };
                    tick = Instant::now() + PERIOD;
                    match &mut screen {
                        Some(screen) => screen.load(data),
                        None => screen = Some(Screen::new(data, size)),
                    }
                    if let (Some(screen), Some(said)) = (&mut screen, said) {
                        if let Some(place) = decided_at.filter(|_| said.is_ok()) {
                            screen.go_on(place);
                        }
                        screen.say(said);
                    }
                }
            }
            let Some(screen) = &mut screen else { continue };
            // What was typed before this is shown is not about it.
            if screen.drawn.as_ref().map(|drawn| &drawn.subject) != Some(&screen.subject()) {
                tty.discard_input().map_err(broken)?;
                decoder.forget();
            }
            match terminal.draw(|frame| view::draw(screen, colours, frame)) {
                Ok(_) => {}
                Err(error) if is_closed(&error) => return Ok(Exit::HungUp),
                Err(error) => return Err(broken(error)),
            }
            let happened = tokio::select! {
                happened = tty.next() => happened,
                () = tokio::time::sleep_until(tick) => {
                    command = Command::Read;
                    continue;
                }
            };
            match happened {
                Ok(Happening::Typed(bytes)) => {
                    for key in decoder.keys(&bytes) {
                        command = match screen.key(&key) {
                            Command::Draw => std::mem::replace(&mut command, Command::Draw),
                            other => other,
                        };
                        // What follows was typed before its effect was shown.
                        if !matches!(command, Command::Draw | Command::Read) {
                            break;
                        }
                    }
                }
                Ok(Happening::Resized) => {
                    let size = tty.size().map_err(broken)?;
                    screen.size = size;
                    terminal.resize(area(size)).map_err(broken)?;
                }
                Ok(Happening::Closed) => return Ok(Exit::HungUp),
                Ok(Happening::Ended(exit)) => return Ok(exit),
                Err(error) if is_closed(&error) => return Ok(Exit::HungUp),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

/// Returns the error of a terminal that fails.
fn broken(error: io::Error) -> Error {
    Error::internal(format!("the terminal cannot be used: {error}; run: whereby inbox --web"))
}

/// Whether the terminal was closed.
fn is_closed(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}

/// Uses the inbox on a thread that may wait for a disk.
async fn blocking<T: Send + 'static>(
    inbox: &Arc<Inbox>,
    work: impl FnOnce(&Inbox) -> T + Send + 'static,
) -> Result<T, Error> {
    let inbox = Arc::clone(inbox);
    let done = tokio::task::spawn_blocking(move || work(&inbox)).await;
    done.map_err(|_| Error::internal("the inbox could not be read"))
}

/// Does what a person wants done. Returns how it went, in a sentence.
fn perform(inbox: &Inbox, command: Command) -> Option<Result<String, Error>> {
    let said = match command {
        Command::Decide { id, decision, seen } => {
            let times = inbox.times();
            let decided = inbox.decide(&id, decision, None, seen, &person());
            decided.and_then(|decided| state::decided(decision, seen, decided, &times))
        }
        Command::AllowMore { id, seen, terms } => {
            let times = inbox.times();
            more(inbox, &id, &terms)
                .and_then(|terms| {
                    inbox.decide(&id, Decision::Approve, Some(&terms), seen, &person())
                })
                .and_then(|decided| state::decided(Decision::Approve, seen, decided, &times))
                .map(|said| format!("{said} The next calls like it are allowed, too"))
        }
        Command::Freeze { selector, reason } => {
            let what = selector.describe();
            let done = inbox.freeze(selector, &reason, &person());
            done.map(|()| format!("Froze {what}: no more requests are sent"))
        }
        Command::Unfreeze(selector) => {
            let done = inbox.unfreeze(&selector, &person());
            done.map(|()| format!("Lifted the freeze of {}", selector.describe()))
        }
        Command::Draw | Command::Read | Command::Quit | Command::Interrupt => return None,
    };
    Some(said)
}

/// Reads how many calls to allow, for how long, and which rooms: `8 2h bot-*`.
fn more(inbox: &Inbox, id: &str, typed: &str) -> Result<Terms, Error> {
    let Some(item) = inbox.item(id)? else {
        return Err(Error::usage("there is no such approval any more"));
    };
    let mut words = typed.split_whitespace();
    let uses = words.next().and_then(|uses| uses.parse().ok()).ok_or_else(|| {
        Error::usage("type how many calls to allow, this one included, such as: 8, or: 8 2h bot-*")
    })?;
    let lasting = words.next().unwrap_or("1h");
    let rooms: Vec<String> = words
        .flat_map(|word| word.split(','))
        .filter(|room| !room.is_empty())
        .map(str::to_owned)
        .collect();
    Terms::parse(&item.approval.function, uses, lasting, &rooms, false, inbox.now())
}

/// Returns the person who decides on the screen.
fn person() -> Decider {
    Decider::at(Place::Terminal)
}

/// Reads what a view shows.
fn read(inbox: &Inbox, view: View, filter: &Filter) -> Data {
    let nothing = Rules { actors: Vec::new(), tokens: Vec::new(), warnings: Vec::new() };
    let mut data = Data {
        times: inbox.times(),
        items: inbox.items(),
        frozen: inbox.frozen(),
        events: Ok(Vec::new()),
        rules: Ok(nothing),
        accounts: Ok(Vec::new()),
        agents: Vec::new(),
        account_names: Vec::new(),
    };
    if view == View::Waiting {
        return data;
    }
    let settings = inbox.settings();
    match view {
        View::Waiting => {}
        View::Happened => {
            data.events = inbox.events(filter);
            // Without a configuration there are no names to choose from.
            if let Ok(settings) = &settings {
                data.agents = settings.policy.agents.keys().cloned().collect();
                data.account_names = settings.accounts.keys().cloned().collect();
            }
        }
        View::Agents => data.rules = settings.and_then(|settings| inbox.rules(&settings)),
        View::Accounts => data.accounts = settings.map(|settings| inbox.accounts(&settings)),
    }
    data
}
