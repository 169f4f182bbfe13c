//! What the screen shows, and what keys do. Nothing here knows a terminal.
//!
//! Keys that decide count only for what was drawn: [`Screen::subject`] is what the next one is about, and
//! as long as that differs from what was drawn, such keys do nothing.

use super::keys::Key;
use crate::error::Error;
use crate::inbox::words::Times;
use crate::inbox::{AccountState, Actor, Decision, Event, Filter, Item, Rules};
use crate::inbox::{Class, Decided};
use crate::store::{ApprovalState, Freeze, Selector, StoredApproval};
use std::collections::HashSet;
use whereby_catalog::FUNCTIONS;

/// The minimum size, in columns and rows.
pub(super) const SMALLEST: (u16, u16) = (40, 10);

/// How many calls of the log are shown.
const EVENTS: u32 = 100;

/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 300;

/// The maximum length of how much more to allow, in characters.
const MAX_TERMS: usize = 200;

/// What is typed to approve something that cannot be undone.
const YES: &str = "yes";

/// One of the displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Waiting,
    Happened,
    Agents,
    Accounts,
}

impl View {
    pub(super) const ALL: [(Self, &'static str); 4] = [
        (Self::Waiting, "Waiting"),
        (Self::Happened, "Log"),
        (Self::Agents, "Agents"),
        (Self::Accounts, "Accounts"),
    ];

    fn step(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()].0
    }
}

/// What the inbox says at one time. What the view does not show is empty.
pub(super) struct Data {
    pub(super) times: Times,
    pub(super) items: Result<Vec<Item>, Error>,
    pub(super) frozen: Result<Vec<Freeze>, Error>,
    pub(super) events: Result<Vec<Event>, Error>,
    pub(super) rules: Result<Rules, Error>,
    pub(super) accounts: Result<Vec<AccountState>, Error>,
    /// The names of the agents and accounts, for filters.
    pub(super) agents: Vec<String>,
    pub(super) account_names: Vec<String>,
}

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing besides drawing.
    Draw,
    /// Read again what the view shows.
    Read,
    Decide {
        id: String,
        decision: Decision,
        seen: ApprovalState,
    },
    /// Approve the call and the next ones like it.
    AllowMore {
        id: String,
        seen: ApprovalState,
        /// How many, for how long, and which rooms, as it was typed.
        terms: String,
    },
    Freeze {
        selector: Selector,
        reason: String,
    },
    Unfreeze(Selector),
    Quit,
    Interrupt,
}

/// A question that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialog {
    Decide {
        id: String,
        decision: Decision,
        seen: ApprovalState,
        /// What will happen.
        what: String,
        is_destructive: bool,
        typed: String,
    },
    AllowMore {
        id: String,
        seen: ApprovalState,
        what: String,
        terms: String,
    },
    Freeze {
        selector: Selector,
        reason: String,
    },
    Unfreeze(Selector),
}

impl Dialog {
    /// Whether `yes` must be typed.
    pub(super) fn needs_yes(&self) -> bool {
        matches!(self, Self::Decide { decision: Decision::Approve, is_destructive: true, .. })
    }

    /// Returns what was typed into it, if it takes text.
    pub(super) fn typed(&self) -> Option<&str> {
        match self {
            Self::Decide { typed, .. } if self.needs_yes() => Some(typed),
            Self::AllowMore { terms, .. } => Some(terms),
            Self::Freeze { reason, .. } => Some(reason),
            _ => None,
        }
    }

    fn typed_mut(&mut self) -> Option<(&mut String, usize)> {
        let needs_yes = self.needs_yes();
        match self {
            Self::Decide { typed, .. } if needs_yes => Some((typed, YES.len())),
            Self::AllowMore { terms, .. } => Some((terms, MAX_TERMS)),
            Self::Freeze { reason, .. } => Some((reason, MAX_REASON)),
            _ => None,
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Decide { id, decision, seen, .. } => Command::Decide { id, decision, seen },
            Self::AllowMore { id, seen, terms, .. } => Command::AllowMore { id, seen, terms },
            Self::Freeze { selector, reason } => Command::Freeze { selector, reason },
            Self::Unfreeze(selector) => Command::Unfreeze(selector),
        }
    }
}

/// What the next key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    view: View,
    selected: Option<String>,
    state: Option<ApprovalState>,
    /// The number of the dialog.
    dialog: Option<u64>,
    is_help: bool,
}

/// How the last action went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) is_problem: bool,
    pub(super) text: String,
}

/// A list, and the details of what is selected in it.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    /// The id or the name of what is selected; absent to follow the first.
    pub(super) selected: Option<String>,
    /// Where it was.
    pub(super) index: usize,
    /// The first row that is shown.
    pub(super) offset: usize,
    /// The first line of the details that is shown.
    pub(super) scroll: usize,
}

/// What the last drawing showed.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) subject: Subject,
    /// How many lines the details have room for.
    pub(super) page: usize,
    /// Whether the whole text of the dialog was shown.
    pub(super) is_whole: bool,
}

/// The state of the screen.
pub(super) struct Screen {
    pub(super) size: (u16, u16),
    pub(super) view: View,
    pub(super) data: Data,
    pub(super) filter: Filter,
    pub(super) dialog: Option<Dialog>,
    /// How many dialogs there were.
    dialogs: u64,
    /// The first line of the help that is shown, if it is.
    pub(super) help: Option<usize>,
    pub(super) said: Option<Said>,
    pub(super) drawn: Option<Drawn>,
    /// The calls whose arguments were shown to the end.
    pub(super) read: HashSet<String>,
    lists: [List; 4],
}

impl Screen {
    pub(super) fn new(data: Data, size: (u16, u16)) -> Self {
        let mut screen = Self {
            size,
            view: View::Waiting,
            filter: Filter { limit: EVENTS, ..Filter::default() },
            data,
            dialog: None,
            dialogs: 0,
            help: None,
            said: None,
            drawn: None,
            read: HashSet::new(),
            lists: Default::default(),
        };
        screen.sort();
        screen.follow();
        screen
    }

    pub(super) fn list(&self) -> &List {
        &self.lists[self.view as usize]
    }

    pub(super) fn list_mut(&mut self) -> &mut List {
        &mut self.lists[self.view as usize]
    }

    pub(super) fn is_too_small(&self) -> bool {
        self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1
    }

    /// Returns how many calls wait.
    pub(super) fn waiting(&self) -> usize {
        let items = self.data.items.iter().flatten();
        items.filter(|item| item.approval.state == ApprovalState::Pending).count()
    }

    /// Returns the ids or names of what the view lists.
    fn ids(&self) -> Vec<&str> {
        match self.view {
            View::Waiting => {
                self.data.items.iter().flatten().map(|item| &*item.approval.id).collect()
            }
            View::Happened => {
                self.data.events.iter().flatten().map(|event| &*event.row.id).collect()
            }
            View::Agents => {
                let actors = self.data.rules.iter().flat_map(|rules| &rules.actors);
                actors.map(|actor| actor.name.as_deref().unwrap_or_default()).collect()
            }
            View::Accounts => self.data.accounts.iter().flatten().map(|own| &*own.name).collect(),
        }
    }

    /// Returns where the selection is; `None` in an empty list.
    pub(super) fn selected_index(&self) -> Option<usize> {
        let ids = self.ids();
        let selected = self.list().selected.as_deref();
        let at = selected.and_then(|own| ids.iter().position(|id| *id == own));
        at.or(if ids.is_empty() { None } else { Some(0) })
    }

    pub(super) fn item(&self) -> Option<&Item> {
        self.data.items.as_ref().ok()?.get(self.selected_index()?)
    }

    pub(super) fn event(&self) -> Option<&Event> {
        self.data.events.as_ref().ok()?.get(self.selected_index()?)
    }

    pub(super) fn actor(&self) -> Option<&Actor> {
        self.data.rules.as_ref().ok()?.actors.get(self.selected_index()?)
    }

    pub(super) fn account(&self) -> Option<&AccountState> {
        self.data.accounts.as_ref().ok()?.get(self.selected_index()?)
    }

    /// Returns what the next key is about.
    pub(super) fn subject(&self) -> Subject {
        let ids = self.ids();
        let state = match self.view {
            View::Waiting => self.item().map(|item| item.approval.state),
            _ => None,
        };
        Subject {
            view: self.view,
            selected: self.selected_index().map(|at| ids[at].to_owned()),
            state,
            dialog: self.dialog.as_ref().map(|_| self.dialogs),
            is_help: self.help.is_some(),
        }
    }

    /// Whether what is on the screen is what the next key is about.
    fn is_drawn(&self) -> bool {
        let subject = self.subject();
        !self.is_too_small() && self.drawn.as_ref().is_some_and(|drawn| drawn.subject == subject)
    }

    /// Takes in what the inbox says now.
    pub(super) fn load(&mut self, data: Data) {
        self.data = data;
        self.sort();
        self.close_late_dialog();
        self.follow();
    }

    /// Puts the calls that wait first, and those that were settled last before the others.
    fn sort(&mut self) {
        if let Ok(items) = &mut self.data.items {
            items.sort_by_key(|item| match item.approval.state {
                ApprovalState::Pending => (false, item.approval.created_at),
                _ => (true, -item.settled_at()),
            });
            let known: HashSet<&str> = items.iter().map(|item| &*item.approval.id).collect();
            self.read.retain(|id| known.contains(&**id));
        }
    }

    /// Keeps the selection on the same call. If that is gone, selects what is in its place.
    fn follow(&mut self) {
        let ids: Vec<String> = self.ids().into_iter().map(str::to_owned).collect();
        let follows_newest = self.view == View::Happened;
        let list = self.list_mut();
        let at = list.selected.as_ref().and_then(|own| ids.iter().position(|id| id == own));
        match at {
            Some(at) => list.index = at,
            None => {
                if list.selected.is_some() {
                    list.scroll = 0;
                }
                list.index = list.index.min(ids.len().saturating_sub(1));
                list.selected = ids.get(list.index).filter(|_| !follows_newest).cloned();
            }
        }
    }

    /// Closes the dialog if the call is no longer in the state in which the person saw it.
    fn close_late_dialog(&mut self) {
        let (id, seen, decision) = match &self.dialog {
            Some(Dialog::Decide { id, seen, decision, .. }) => (id, seen, decision),
            Some(Dialog::AllowMore { id, seen, .. }) => (id, seen, &Decision::Approve),
            _ => return,
        };
        let Ok(items) = &self.data.items else { return };
        let approval = items.iter().map(|item| &item.approval).find(|own| own.id == *id);
        if approval.is_some_and(|own| own.state == *seen) {
            return;
        }
        let text = late(*decision, approval, &self.data.times);
        self.said = Some(Said { is_problem: true, text });
        self.dialog = None;
    }

    /// Says how an action went, which the next action replaces.
    pub(super) fn say(&mut self, said: Result<String, Error>) {
        self.said = Some(match said {
            Ok(text) => Said { is_problem: false, text },
            Err(error) => Said { is_problem: true, text: error.to_string() },
        });
    }

    fn problem(&mut self, text: impl Into<String>) -> Command {
        self.said = Some(Said { is_problem: true, text: text.into() });
        Command::Draw
    }

    /// Returns where among those that wait the call is that a command decides on.
    pub(super) fn place_of(&self, command: &Command) -> Option<usize> {
        let (Command::Decide { id, .. } | Command::AllowMore { id, .. }) = command else {
            return None;
        };
        let items = self.data.items.iter().flatten().map(|item| &item.approval);
        let mut pending = items.filter(|approval| approval.state == ApprovalState::Pending);
        pending.position(|approval| approval.id == *id)
    }

    /// Selects the call that waits in the place of the one that was decided on, or else the last one.
    pub(super) fn go_on(&mut self, decided_at: usize) {
        let pending = |item: &&Item| item.approval.state == ApprovalState::Pending;
        // They are sorted: those that wait come first.
        let pending: Vec<&Item> = self.data.items.iter().flatten().filter(pending).collect();
        let next = pending.get(decided_at).or(pending.last());
        if let Some(next) = next.map(|item| item.approval.id.clone()) {
            let offset = self.lists[View::Waiting as usize].offset;
            self.lists[View::Waiting as usize] =
                List { selected: Some(next), offset, ..List::default() };
            self.follow();
        }
    }

    /// Acts on a key.
    pub(super) fn key(&mut self, key: &Key) -> Command {
        if *key == Key::Ctrl('c') {
            return Command::Interrupt;
        }
        if self.dialog.is_some() {
            return self.key_in_dialog(key);
        }
        if self.help.is_some() {
            return self.key_in_help(key);
        }
        let page = self.drawn.as_ref().map_or(1, |drawn| drawn.page.saturating_sub(1).max(1));
        match key {
            Key::Char('q') => return Command::Quit,
            Key::Char('?') => self.help = Some(0),
            Key::Escape => self.said = None,
            Key::Tab | Key::Right => return self.go(self.view.step(1)),
            Key::BackTab | Key::Left => return self.go(self.view.step(3)),
            Key::Char(digit @ '1'..='4') => {
                let index = *digit as usize - '1' as usize;
                return self.go(View::ALL[index].0);
            }
            Key::Up | Key::Char('k') => self.select(|at, _| at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(|at, last| last.min(at + 1)),
            Key::Home => self.select(|_, _| 0),
            Key::End => self.select(|_, last| last),
            Key::PageUp | Key::Char('b') => {
                let scroll = &mut self.list_mut().scroll;
                *scroll = scroll.saturating_sub(page);
            }
            // The drawing stops at the end.
            Key::PageDown | Key::Char(' ') => self.list_mut().scroll += page,
            Key::Char('a' | 'd' | 'f' | 'm' | 'u') if !self.is_drawn() => {}
            Key::Char('a') => return self.decide(Decision::Approve),
            Key::Char('d') => return self.decide(Decision::Deny),
            Key::Char('m') => return self.allow_more(),
            Key::Char('f') => return self.freeze(),
            Key::Char('u') => return self.unfreeze(),
            Key::Char(letter) if self.view == View::Happened => return self.filter(*letter),
            _ => {}
        }
        Command::Draw
    }

    fn go(&mut self, view: View) -> Command {
        self.view = view;
        self.said = None;
        Command::Read
    }

    fn select(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let ids: Vec<String> = self.ids().into_iter().map(str::to_owned).collect();
        let (Some(at), Some(last)) = (self.selected_index(), ids.len().checked_sub(1)) else {
            return;
        };
        let index = to(at, last);
        let follows_newest = self.view == View::Happened && index == 0;
        let list = self.list_mut();
        if index != at {
            list.scroll = 0;
        }
        list.index = index;
        list.selected = ids.get(index).filter(|_| !follows_newest).cloned();
    }

    fn key_in_help(&mut self, key: &Key) -> Command {
        match (key, &mut self.help) {
            (Key::Char('q'), _) => return Command::Quit,
            (Key::Char('?') | Key::Escape, _) => self.help = None,
            (Key::Down | Key::PageDown | Key::Char(' ' | 'j'), Some(scroll)) => *scroll += 1,
            (Key::Up | Key::PageUp | Key::Char('b' | 'k'), Some(scroll)) => {
                *scroll = scroll.saturating_sub(1);
            }
            _ => {}
        }
        Command::Draw
    }

    fn key_in_dialog(&mut self, key: &Key) -> Command {
        if *key == Key::Escape {
            self.dialog = None;
            return Command::Draw;
        }
        // What was typed before the question was shown, or before all of it was, is no answer to it.
        if !self.is_drawn() || !self.drawn.as_ref().is_some_and(|drawn| drawn.is_whole) {
            return Command::Draw;
        }
        let Some(dialog) = &mut self.dialog else { return Command::Draw };
        let needs_yes = dialog.needs_yes();
        let Some((typed, most)) = dialog.typed_mut() else {
            match key {
                Key::Char('y') => return self.confirm(),
                Key::Char('n' | 'q') => self.dialog = None,
                _ => {}
            }
            return Command::Draw;
        };
        match key {
            Key::Enter if needs_yes && typed != YES => {}
            Key::Enter => return self.confirm(),
            Key::Backspace => drop(typed.pop()),
            Key::Ctrl('u') => typed.clear(),
            Key::Char(c) if typed.chars().count() < most => typed.push(*c),
            Key::Paste(text) if !needs_yes => {
                let line = text.lines().next().unwrap_or_default();
                let room = most.saturating_sub(typed.chars().count());
                typed.extend(line.chars().take(room));
            }
            _ => {}
        }
        Command::Draw
    }

    fn confirm(&mut self) -> Command {
        self.said = None;
        self.dialog.take().map_or(Command::Draw, Dialog::command)
    }

    fn open(&mut self, dialog: Dialog) -> Command {
        self.dialogs += 1;
        self.said = None;
        self.dialog = Some(dialog);
        Command::Draw
    }

    fn allow_more(&mut self) -> Command {
        match self.decide(Decision::Approve) {
            Command::Draw => {}
            other => return other,
        }
        // Whatever keeps a call from being approved was said.
        let Some(Dialog::Decide { id, seen, what, is_destructive, .. }) = self.dialog.take() else {
            return Command::Draw;
        };
        if is_destructive {
            return self.problem(
                "More calls that can't be undone are allowed only on the page, or with: whereby approvals \
                 approve ID --uses N --destructive",
            );
        }
        self.open(Dialog::AllowMore { id, seen, what, terms: String::new() })
    }

    fn decide(&mut self, decision: Decision) -> Command {
        if self.view != View::Waiting {
            return self.problem("Calls are decided in the view Waiting: press 1");
        }
        let Some(item) = self.item() else { return Command::Draw };
        let (id, seen) = (item.approval.id.clone(), item.approval.state);
        let can = match decision {
            Decision::Approve => matches!(seen, ApprovalState::Pending | ApprovalState::Denied),
            Decision::Deny => matches!(seen, ApprovalState::Pending | ApprovalState::Approved),
        };
        if !can {
            let text = state(&item.approval, &self.data.times);
            return self.problem(format!("Nothing to decide. {text}"));
        }
        if decision == Decision::Approve && !self.read.contains(&id) {
            return self.problem("There is more to read below: press Space, then approve");
        }
        let (what, is_destructive) = (item.sentence.to_string(), item.is_destructive);
        let typed = String::new();
        self.open(Dialog::Decide { id, decision, seen, what, is_destructive, typed })
    }

    /// Returns what `f` and `u` are about.
    fn selector(&self) -> Selector {
        match self.view {
            View::Agents => {
                let agent = self.actor().and_then(|actor| actor.name.clone());
                Selector { agent, account: None }
            }
            View::Accounts => {
                let account = self.account().map(|own| own.name.clone());
                Selector { agent: None, account }
            }
            _ => Selector::default(),
        }
    }

    fn freeze(&mut self) -> Command {
        let selector = self.selector();
        self.open(Dialog::Freeze { selector, reason: String::new() })
    }

    fn unfreeze(&mut self) -> Command {
        let Ok(all) = &self.data.frozen else {
            return self.problem("The file of what is frozen must be repaired by hand");
        };
        let own = match self.view {
            View::Agents => self.actor().map(|actor| &actor.freezes),
            View::Accounts => self.account().map(|account| &account.freezes),
            _ => Some(all),
        };
        let own = own.map(Vec::as_slice).unwrap_or_default();
        let wanted = self.selector();
        let found = own.iter().find(|freeze| freeze.selector == wanted).or_else(|| own.first());
        match found.map(|freeze| freeze.selector.clone()) {
            Some(selector) => self.open(Dialog::Unfreeze(selector)),
            None if all.is_empty() => self.problem("Nothing is frozen"),
            None => self.problem(format!("{}: not frozen", wanted.describe())),
        }
    }

    fn filter(&mut self, letter: char) -> Command {
        let functions: Vec<String> =
            FUNCTIONS.iter().map(|function| function.json.to_owned()).collect();
        let filter = &mut self.filter;
        match letter {
            'r' => {
                let classes = Class::ALL.map(|(class, _, _)| class);
                filter.result = next(&classes, filter.result.as_ref());
            }
            'g' => filter.agent = next(&self.data.agents, filter.agent.as_ref()),
            'c' => filter.account = next(&self.data.account_names, filter.account.as_ref()),
            'n' => filter.function = next(&functions, filter.function.as_ref()),
            'x' => *filter = Filter { limit: filter.limit, ..Filter::default() },
            _ => return Command::Draw,
        }
        *self.list_mut() = List::default();
        Command::Read
    }
}

/// Returns the choice after this one; `None` means all, and follows the last.
fn next<T: Clone + PartialEq>(all: &[T], current: Option<&T>) -> Option<T> {
    match current {
        None => all.first().cloned(),
        Some(current) => {
            let at = all.iter().position(|own| own == current)?;
            all.get(at + 1).cloned()
        }
    }
}

/// Returns the state of an approval in words.
pub(super) fn state(approval: &StoredApproval, times: &Times) -> String {
    let ago = |time: Option<i64>| {
        time.map(|time| format!(" {}", times.relative(time))).unwrap_or_default()
    };
    match approval.state {
        ApprovalState::Pending => format!("It expires {}.", times.relative(approval.expires_at)),
        ApprovalState::Approved => {
            let until = approval.valid_until.map(|until| times.clock(until)).unwrap_or_default();
            let ago = ago(approval.decided_at);
            let next = match approval.is_made_by_itself {
                true => "An MCP server makes the call by itself, at the latest by",
                false => "The same call can be made again once, until",
            };
            format!("It was approved{ago}. {next} {until}.")
        }
        ApprovalState::Used => {
            format!("It was approved, and the call was made{}.", ago(approval.used_at))
        }
        ApprovalState::Denied => format!("It was denied{}.", ago(approval.decided_at)),
        ApprovalState::Expired if approval.valid_until.is_some() => {
            "It expired: it was approved, and the call was not made in time.".into()
        }
        ApprovalState::Expired => "It expired: nobody decided in time.".into(),
    }
}

/// Returns what to tell a person whose decision came too late.
pub(super) fn late(decision: Decision, approval: Option<&StoredApproval>, times: &Times) -> String {
    let tried = match decision {
        Decision::Approve => "Too late to approve; nothing was changed.",
        Decision::Deny => "Too late to deny; nothing was changed.",
    };
    match approval {
        Some(approval) => format!("{tried} {}", state(approval, times)),
        None => format!("{tried} There is no such approval any more."),
    }
}

/// Returns what came of a decision.
pub(super) fn decided(
    decision: Decision,
    seen: ApprovalState,
    decided: Decided,
    times: &Times,
) -> Result<String, Error> {
    match decided {
        Decided::Now(approval) => {
            let what =
                whereby_authority::sentence::Sentence::of(&approval.function, &approval.arguments);
            Ok(match decision {
                Decision::Approve => {
                    let until = approval.valid_until.map(|until| times.clock(until));
                    let until = until.unwrap_or_default();
                    match approval.is_made_by_itself {
                        true => format!("Approved; the MCP server now makes the call: {what}"),
                        false => format!("Approved once, to be made again by {until}: {what}"),
                    }
                }
                Decision::Deny if approval.revoked > 0 => {
                    format!("Revoked, also for the next calls like it: {what}")
                }
                Decision::Deny if seen == ApprovalState::Approved => format!("Revoked: {what}"),
                Decision::Deny => format!("Denied: {what}"),
            })
        }
        Decided::Late(approval) => Err(Error::usage(late(decision, Some(&approval), times))),
        Decided::Unknown => Err(Error::usage(late(decision, None, times))),
    }
}
