//! Draws the screen. Colours never say anything that words do not.
//!
//! Text from outside goes through [`foreign`] or [`Text::json`], which show every character that acts on a
//! terminal as its code point.

use super::state::{Dialog, Drawn, SMALLEST, Screen, View, state};
use super::words::{cut, fold, foreign, left, who, width, wrap};
use crate::inbox::words::{
    DAY, Times, allowed_by, conditions_in_words, decided_in, decision_details,
};
use crate::inbox::{Access, AccountState, Actor, Class, Decision, Event, Item, Key, Usage};
use crate::store::{ApprovalState, AuditDecision, AuditOutcome, AuditRow, CreatedToken, Freeze};
use crate::system::user::User;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use serde_json::Value;
use whereby_authority::policy::{Outlook, Participants, Permission};
use whereby_authority::text;

/// From this width on, the details are beside the list.
const WIDE: u16 = 120;

/// Below this width, the list does not say who asks.
const NARROW: u16 = 60;

/// From this height on, a line says what is frozen, and another one is above the status.
const TALL: u16 = 16;

/// The width of the names of facts, in columns.
const FACT: usize = 11;

/// The meaning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Muted,
    Good,
    Warning,
    Bad,
}

/// Whether to use colours.
#[derive(Clone, Copy)]
struct Look(bool);

impl Look {
    fn style(self, tone: Tone) -> Style {
        let colour = |colour| if self.0 { Style::new().fg(colour) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Muted => Style::new().add_modifier(Modifier::DIM),
            Tone::Good => colour(Color::Green),
            Tone::Warning => colour(Color::Yellow),
            Tone::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

/// A line of a list.
struct Row {
    lead: String,
    text: String,
    side: String,
    tone: Tone,
}

/// Lines that are wrapped to a width.
struct Text {
    width: usize,
    look: Look,
    lines: Vec<Line<'static>>,
}

impl Text {
    fn new(width: usize, look: Look) -> Self {
        Self { width, look, lines: Vec::new() }
    }

    fn gap(&mut self) {
        self.lines.push(Line::default());
    }

    fn add(&mut self, tone: Tone, text: &str) {
        let style = self.look.style(tone);
        self.lines.extend(wrap(text, self.width).into_iter().map(|line| Line::styled(line, style)));
    }

    /// Adds a line with a mark before it.
    fn point(&mut self, text: &str) {
        for (index, line) in wrap(text, self.width.saturating_sub(2)).into_iter().enumerate() {
            self.lines.push(Line::raw(format!("{}{line}", if index == 0 { "- " } else { "  " })));
        }
    }

    fn fact(&mut self, name: &str, text: &str) {
        let muted = self.look.style(Tone::Muted);
        for (index, line) in wrap(text, self.width.saturating_sub(FACT)).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let name = Span::styled(format!("{name:FACT$}"), muted);
            self.lines.push(Line::from(vec![name, Span::raw(line)]));
        }
    }

    /// Adds arguments in full, a member on a line if it fits. A line that goes on has a mark.
    fn json(&mut self, value: &Value) {
        let Some(object) = value.as_object() else { return self.lines_of_json(&value.to_string()) };
        for (name, value) in object {
            let name = Value::from(name.as_str());
            let line = format!("{name}: {}", text::spaced_json(value));
            if width(&text::printable_lines(&line)) + 2 <= self.width {
                self.lines_of_json(&line);
            } else {
                let pretty = serde_json::to_string_pretty(value).unwrap_or(line);
                self.lines_of_json(&format!("{name}: {pretty}"));
            }
        }
    }

    fn lines_of_json(&mut self, json: &str) {
        let muted = self.look.style(Tone::Muted);
        for line in text::printable_lines(json).lines() {
            for (index, part) in fold(line, self.width.saturating_sub(2)).into_iter().enumerate() {
                let mark = if index == 0 { "  " } else { "↳ " };
                self.lines.push(Line::from(vec![Span::styled(mark, muted), Span::raw(part)]));
            }
        }
    }
}

/// Draws the screen, and notes in it what is drawn.
pub(super) fn draw(screen: &mut Screen, colours: bool, frame: &mut Frame<'_>) {
    let (look, area) = (Look(colours), frame.area());
    screen.size = (area.width, area.height);
    let buffer = frame.buffer_mut();
    let subject = screen.subject();
    if screen.is_too_small() {
        let mut text = Text::new(area.width.into(), look);
        text.add(
            Tone::Strong,
            &format!(
                "Too small: {}×{}. Make it {}×{}. q quits.",
                area.width, area.height, SMALLEST.0, SMALLEST.1
            ),
        );
        lines(buffer, area, &text.lines);
        screen.drawn = Some(Drawn { subject, page: 1, is_whole: false });
        return;
    }
    let mut top = 1;
    tabs(screen, look, buffer, row(area, 0));
    if area.height >= TALL
        && let Some(words) = frozen(screen)
    {
        let style = look.style(Tone::Bad).add_modifier(Modifier::REVERSED);
        let line = row(area, 1);
        buffer.set_style(line, style);
        put(buffer, line, &format!(" {words}"), style);
        top = 2;
    }
    let (bottom, is_whole) = bottom(screen, look, area);
    let height = u16::try_from(bottom.len()).unwrap_or(area.height).min(area.height - 1);
    top = top.min(area.height - height);
    let body = Rect { y: top, height: area.height - height - top, ..area };
    lines(buffer, Rect { y: area.height - height, height, ..area }, &bottom);
    let page = match screen.help {
        Some(scroll) => {
            let text = help(screen, look, usize::from(body.width) - 2);
            let (scroll, _) = pane(buffer, inner(body), &text.lines, scroll, look, " Help ");
            screen.help = Some(scroll);
            body.height.into()
        }
        None => self::body(screen, look, buffer, body),
    };
    screen.drawn = Some(Drawn { subject, page, is_whole });
}

fn row(area: Rect, y: u16) -> Rect {
    Rect { y: area.y + y, height: 1, ..area }
}

/// Returns an area without its first and last column.
fn inner(area: Rect) -> Rect {
    Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area }
}

/// Writes a text on one line, cut with a mark.
fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    if area.height > 0 {
        buffer.set_string(area.x, area.y, cut(text, area.width.into()), style);
    }
}

fn lines(buffer: &mut Buffer, area: Rect, lines: &[Line<'static>]) {
    for (line, y) in lines.iter().zip(0..area.height) {
        buffer.set_line(area.x, area.y + y, line, area.width);
    }
}

fn tabs(screen: &Screen, look: Look, buffer: &mut Buffer, area: Rect) {
    let count = |view: View| match (view, screen.waiting()) {
        (View::Waiting, count) if count > 0 => format!(" ({count})"),
        _ => String::new(),
    };
    let stop = if is_frozen(screen) { " FROZEN " } else { "" };
    let of = |is_short: bool| -> Vec<(View, String)> {
        let tab = |(index, (view, name)): (usize, (View, &str))| {
            let name = if is_short && view != screen.view { "" } else { name };
            let label = format!("{} {name}", index + 1);
            (view, format!(" {}{} ", label.trim_end(), count(view)))
        };
        View::ALL.into_iter().enumerate().map(tab).collect()
    };
    let taken = |tabs: &[(View, String)]| tabs.iter().map(|(_, tab)| width(tab)).sum::<usize>();
    let title = " Whereby inbox ";
    let room = usize::from(area.width).saturating_sub(stop.len());
    let mut tabs = of(false);
    if taken(&tabs) > room {
        tabs = of(true);
    }
    let mut x = area.x;
    if taken(&tabs) + title.len() <= room {
        buffer.set_string(x, area.y, title, look.style(Tone::Strong));
        x += u16::try_from(title.len()).unwrap_or_default();
    }
    for (view, tab) in tabs {
        let style = match view == screen.view {
            true => look.style(Tone::Strong).add_modifier(Modifier::REVERSED),
            false => Style::new(),
        };
        (x, _) = buffer.set_stringn(x, area.y, tab, (area.right() - x).into(), style);
    }
    let at = area.right().saturating_sub(u16::try_from(stop.len()).unwrap_or_default());
    let style = look.style(Tone::Bad).add_modifier(Modifier::REVERSED);
    buffer.set_string(at, area.y, stop, style);
}

fn is_frozen(screen: &Screen) -> bool {
    screen.data.frozen.as_ref().map_or(true, |freezes| !freezes.is_empty())
}

/// Returns what is frozen, if anything is.
fn frozen(screen: &Screen) -> Option<String> {
    match &screen.data.frozen {
        Ok(freezes) => {
            let first = freezes.first()?;
            let more = match freezes.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            Some(format!("Frozen: {}{more}. u: unfreeze", freeze(first, &screen.data.times)))
        }
        Err(error) => Some(format!("Everything is frozen: {}", foreign(&error.to_string()))),
    }
}

fn freeze(freeze: &Freeze, times: &Times) -> String {
    let reason = freeze.reason.as_deref().map(foreign);
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let (what, by) = (freeze.selector.describe(), foreign(&freeze.by));
    format!("{what}, {} by {by}{reason}", times.relative(freeze.time))
}

// The bottom: a question, or what the keys do.

/// Returns the lines at the bottom, and whether the question is whole, if there is one.
fn bottom(screen: &Screen, look: Look, area: Rect) -> (Vec<Line<'static>>, bool) {
    let columns = usize::from(area.width);
    if let Some(dialog) = &screen.dialog {
        let mut text = Text::new(columns - 2, look);
        question(dialog, &mut text);
        let most = usize::from(area.height) - 2;
        let is_whole = text.lines.len() <= most;
        if !is_whole {
            text.lines.truncate(most - 1);
            text.add(Tone::Bad, "Make the window larger to answer. Esc: cancel");
        }
        let mut all = vec![rule(columns, &format!(" {} ", title(dialog)), "", look)];
        all.extend(text.lines.into_iter().map(indented));
        return (all, is_whole);
    }
    let status = match &screen.said {
        Some(said) => {
            let tone = if said.is_problem { Tone::Bad } else { Tone::Good };
            let mark = if said.is_problem { "! " } else { "" };
            let mut text = Text::new(columns - 2, look);
            text.add(tone, &format!("{mark}{}", text::printable(&said.text, 1000)));
            text.lines.truncate(3);
            text.lines
        }
        None => {
            let waiting = match screen.waiting() {
                _ if screen.data.items.is_err() => "The approvals cannot be read".to_owned(),
                0 => "Nothing waits".to_owned(),
                1 => "1 call waits".to_owned(),
                count => format!("{count} calls wait"),
            };
            let frozen = match &screen.data.frozen {
                Ok(freezes) if freezes.is_empty() => "nothing is frozen".to_owned(),
                Ok(freezes) if freezes.len() == 1 => {
                    format!("frozen: {}", freezes[0].selector.describe())
                }
                Ok(freezes) => format!("{} freezes", freezes.len()),
                Err(_) => "everything is frozen".to_owned(),
            };
            let words = cut(&format!("{waiting} · {frozen}"), columns - 2);
            vec![Line::styled(words, look.style(Tone::Muted))]
        }
    };
    let mut all = Vec::new();
    if area.height >= TALL {
        all.push(rule(columns, "", "", look));
    }
    all.extend(status.into_iter().map(indented));
    all.push(indented(keys(screen, look, columns - 2)));
    (all, false)
}

fn indented(mut line: Line<'static>) -> Line<'static> {
    line.spans.insert(0, Span::raw(" "));
    line
}

/// Returns a horizontal line with words on its left and its right.
fn rule(columns: usize, left: &str, right: &str, look: Look) -> Line<'static> {
    let left = cut(left, columns.saturating_sub(4));
    let right = cut(right, columns.saturating_sub(width(&left) + 6));
    let line = columns.saturating_sub(width(&left) + width(&right) + 4);
    let muted = look.style(Tone::Muted);
    Line::from(vec![
        Span::styled("──", muted),
        Span::styled(left, look.style(Tone::Strong)),
        Span::styled("─".repeat(line), muted),
        Span::styled(right, look.style(Tone::Warning)),
        Span::styled("──", muted),
    ])
}

fn title(dialog: &Dialog) -> &'static str {
    match dialog {
        Dialog::Decide { decision: Decision::Approve, seen: ApprovalState::Denied, .. } => {
            "Approve this call once after all?"
        }
        Dialog::Decide { decision: Decision::Approve, .. } => "Approve this call once?",
        Dialog::Decide { seen: ApprovalState::Approved, .. } => "Revoke the approval?",
        Dialog::Decide { .. } => "Deny this call?",
        Dialog::AllowMore { .. } => "Approve this call and the next ones like it?",
        Dialog::Freeze { .. } => "Freeze?",
        Dialog::Unfreeze(_) => "Unfreeze?",
    }
}

fn question(dialog: &Dialog, text: &mut Text) {
    let typed = |text: &mut Text, before: &str, typed: &str, after: &str| {
        let line = format!("{before} {}▏", text::printable(typed, usize::MAX));
        text.add(Tone::Strong, &line);
        text.add(Tone::Muted, after);
    };
    let keys = |text: &mut Text, what: &str| {
        text.add(Tone::Strong, &format!("y: {what}   n: cancel"));
    };
    match dialog {
        Dialog::Decide { decision, seen, what, is_destructive, .. } => {
            text.add(Tone::Strong, what);
            if *decision == Decision::Approve && *is_destructive {
                text.add(Tone::Bad, "This cannot be undone.");
            }
            match dialog.typed() {
                Some(yes) => {
                    typed(text, "Type yes to approve:", yes, "Enter: approve   Esc: cancel")
                }
                None if *decision == Decision::Approve => keys(text, "approve"),
                None if *seen == ApprovalState::Approved => keys(text, "revoke"),
                None => keys(text, "deny"),
            }
        }
        Dialog::AllowMore { what, terms, .. } => {
            text.add(Tone::Strong, what);
            text.add(
                Tone::Plain,
                "How many calls, this one included, and for how long: 8 2h. With exactly these arguments; \
                 or in any room that fits a pattern, with any arguments: 8 2h bot-*",
            );
            typed(text, "Allow:", terms, "Enter: approve   Esc: cancel");
        }
        Dialog::Freeze { selector, reason } => {
            let what = selector.describe();
            text.add(
                Tone::Strong,
                &format!("Freezes {what}: no more requests are sent until you unfreeze."),
            );
            typed(text, "Reason (agents don't see it):", reason, "Enter: freeze   Esc: cancel");
        }
        Dialog::Unfreeze(selector) => {
            text.add(Tone::Strong, &format!("Lifts the freeze of {}.", selector.describe()));
            keys(text, "unfreeze");
        }
    }
}

/// Returns what the keys do, as far as there is room; the last two always.
fn keys(screen: &Screen, look: Look, columns: usize) -> Line<'static> {
    let last: &[(&str, &str)] = &[("?", "help"), ("q", "quit")];
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    if screen.help.is_some() {
        pairs.push(("Esc", "back"));
    } else {
        match screen.view {
            View::Waiting => match screen.item().map(|item| item.approval.state) {
                Some(ApprovalState::Pending) => {
                    pairs.extend([("a", "approve"), ("d", "deny"), ("m", "allow more")]);
                }
                Some(ApprovalState::Approved) => pairs.push(("d", "revoke")),
                Some(ApprovalState::Denied) => pairs.push(("a", "approve after all")),
                _ => {}
            },
            View::Happened => pairs.push(("r g c n", "filter")),
            View::Agents | View::Accounts => {}
        }
        if screen.selected_index().is_some() {
            pairs.push(("↑↓", "choose"));
        }
        pairs.push(if is_frozen(screen) { ("u", "unfreeze") } else { ("f", "freeze") });
        pairs.push(("Tab", "next view"));
    }
    let taken = |(key, what): &(&str, &str)| width(key) + width(what) + 3;
    let mut room = columns.saturating_sub(last.iter().map(taken).sum());
    let fits = |pair: &(&str, &str)| {
        let fits = taken(pair) <= room;
        room = if fits { room - taken(pair) } else { 0 };
        fits
    };
    let mut spans = Vec::new();
    let shown: Vec<(&str, &str)> = pairs.into_iter().filter(fits).collect();
    for (key, what) in shown.iter().chain(last) {
        spans.push(Span::styled((*key).to_owned(), look.style(Tone::Strong)));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    Line::from(spans)
}

fn help(screen: &Screen, look: Look, columns: usize) -> Text {
    let mut text = Text::new(columns, look);
    for (key, what) in [
        ("a", "approve the selected call, once; asks again before it does"),
        ("m", "approve it and the next calls like it; asks how many"),
        ("d", "deny it, or revoke its approval"),
        ("f", "freeze: in Agents and Accounts the selected one, elsewhere everything"),
        ("u", "unfreeze"),
        ("↑ ↓", "choose; Home and End for the first and the last"),
        ("Space b", "scroll the details down and up, as do PgDn and PgUp"),
        ("1 to 4", "choose a view; Tab for the next one"),
        ("r g c n", "in Log: filter by result, agent, account or function; x clears the filters"),
        ("Esc", "close a question or a message"),
        ("q", "quit"),
    ] {
        text.fact(key, what);
    }
    text.gap();
    let times = &screen.data.times;
    text.add(
        Tone::Plain,
        &format!(
            "You decide as {}, on this machine. What you type before a question is shown does not answer \
             it. Times are in {}.",
            foreign(&User::current().name),
            times.exact(times.now, "UTC%:z")
        ),
    );
    text.add(Tone::Plain, "The same as a page: whereby inbox --web");
    text
}

// The body: a list, and the details of what is selected in it.

/// Draws lines from `scroll` on, under a rule that says whether there are more. Returns where they begin,
/// and whether the end is shown.
fn pane(
    buffer: &mut Buffer,
    area: Rect,
    all: &[Line<'static>],
    scroll: usize,
    look: Look,
    title: &str,
) -> (usize, bool) {
    let room = usize::from(area.height.saturating_sub(1));
    let scroll = scroll.min(all.len().saturating_sub(room));
    let end = (scroll + room).min(all.len());
    let more = match (scroll > 0, end < all.len()) {
        (false, false) => String::new(),
        (true, false) => format!(" b: back ({}-{end} of {end}) ", scroll + 1),
        (_, true) => format!(" Space: more ({}-{end} of {}) ", scroll + 1, all.len()),
    };
    if area.height > 0 {
        let line = rule(area.width.into(), title, &more, look);
        buffer.set_line(area.x, area.y, &line, area.width);
    }
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    lines(buffer, below, &all[scroll..end]);
    (scroll, end == all.len() && room > 0)
}

/// Draws the view. Returns how many lines the details have room for.
fn body(screen: &mut Screen, look: Look, buffer: &mut Buffer, mut area: Rect) -> usize {
    if screen.view == View::Happened && area.height > 0 {
        let line = filters(screen);
        put(buffer, inner(row(area, 0)), &line, look.style(Tone::Muted));
        area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    }
    let rows = match rows(screen) {
        Ok(rows) => rows,
        Err(words) => {
            let mut text = Text::new(usize::from(area.width) - 4, look);
            for (tone, words) in words {
                text.gap();
                text.add(tone, &words);
            }
            let area = Rect { x: area.x + 2, width: area.width - 4, ..area };
            lines(buffer, area, &text.lines);
            return area.height.into();
        }
    };
    let is_wide = area.width >= WIDE;
    let (list, details) = if is_wide {
        let left = area.width * 2 / 5;
        let right = Rect { x: area.x + left + 1, width: area.width - left - 1, ..area };
        (Rect { width: left, ..area }, right)
    } else {
        let most = (area.height / 3).max(2);
        let height = u16::try_from(rows.len()).unwrap_or(most).clamp(1, most).min(area.height);
        let below = Rect { y: area.y + height, height: area.height - height, ..area };
        (Rect { height, ..area }, below)
    };
    let at = screen.selected_index().unwrap_or_default();
    let room = usize::from(list.height).max(1);
    let own = screen.list_mut();
    own.offset = own.offset.min(at).max((at + 1).saturating_sub(room));
    own.offset = own.offset.min(rows.len().saturating_sub(room));
    let offset = own.offset;
    for (y, (index, row)) in (0..list.height).zip(rows.iter().enumerate().skip(offset).take(room)) {
        draw_row(buffer, self::row(list, y), row, index == at, look);
    }
    if is_wide {
        for y in 0..area.height {
            let x = details.x - 1;
            buffer.set_string(x, area.y + y, "│", look.style(Tone::Muted));
        }
    }
    let name = match screen.view {
        View::Waiting | View::Happened => String::new(),
        View::Agents | View::Accounts => format!(" {},", rows[at].text),
    };
    let position = format!("{name} {} of {} ", at + 1, rows.len());
    let text = self::details(screen, look, usize::from(inner(details).width));
    let scroll = screen.list().scroll;
    let (scroll, is_end) = pane(buffer, inner(details), &text.lines, scroll, look, &position);
    screen.list_mut().scroll = scroll;
    if screen.view == View::Waiting
        && is_end
        && let Some(id) = screen.item().map(|item| item.approval.id.clone())
    {
        screen.read.insert(id);
    }
    details.height.saturating_sub(1).into()
}

fn draw_row(buffer: &mut Buffer, area: Rect, row: &Row, is_selected: bool, look: Look) {
    let chosen = |style: Style| match is_selected {
        true => style.add_modifier(Modifier::REVERSED),
        false => style,
    };
    buffer.set_style(area, chosen(Style::new()));
    let mark = if is_selected { "> " } else { "  " };
    let side = cut(&row.side, usize::from(area.width) / 2);
    let room = usize::from(area.width).saturating_sub(width(&side) + 2);
    let text = cut(&format!("{mark}{}{}", row.lead, row.text), room);
    buffer.set_string(area.x, area.y, text, chosen(Style::new()));
    let x = area.right().saturating_sub(u16::try_from(width(&side)).unwrap_or_default() + 1);
    buffer.set_string(x, area.y, side, chosen(look.style(row.tone)));
}

/// What is said where there is no list.
type Words = Vec<(Tone, String)>;

/// Returns the list of the view, or what is said in its place.
fn rows(screen: &Screen) -> Result<Vec<Row>, Words> {
    let said = |tone, words: &str| (tone, words.to_owned());
    let unreadable =
        |error: &crate::error::Error| vec![(Tone::Bad, text::printable_lines(&error.to_string()))];
    let times = &screen.data.times;
    let rows: Vec<Row> = match screen.view {
        View::Waiting => {
            let items = screen.data.items.as_ref().map_err(unreadable)?;
            let has_room = screen.size.0 >= NARROW;
            items.iter().map(|item| waiting_row(item, has_room, times)).collect()
        }
        View::Happened => {
            let events = screen.data.events.as_ref().map_err(unreadable)?;
            events.iter().map(|event| event_row(event, times)).collect()
        }
        View::Agents => {
            let actors = &screen.data.rules.as_ref().map_err(unreadable)?.actors;
            actors.iter().map(|actor| actor_row(actor, actors.len() == 1, times)).collect()
        }
        View::Accounts => {
            let accounts = screen.data.accounts.as_ref().map_err(unreadable)?;
            accounts.iter().map(|account| account_row(account, times)).collect()
        }
    };
    if !rows.is_empty() {
        return Ok(rows);
    }
    let is_filtered = [&screen.filter.account, &screen.filter.agent, &screen.filter.function]
        .into_iter()
        .any(Option::is_some)
        || screen.filter.result.is_some();
    Err(match screen.view {
        View::Waiting => vec![
            said(Tone::Strong, "Nothing is waiting."),
            said(
                Tone::Plain,
                "When an agent asks for something that needs your approval, it appears here by itself.",
            ),
        ],
        View::Happened if is_filtered => {
            vec![said(Tone::Strong, "No call matches these filters. x: show everything")]
        }
        View::Happened => vec![
            said(Tone::Strong, "No call has been made yet."),
            said(
                Tone::Plain,
                "Every call appears here: who made it, what it did, and what was sent.",
            ),
        ],
        View::Agents => vec![],
        View::Accounts => vec![
            said(Tone::Strong, "There is no account yet."),
            said(Tone::Plain, "To add one, run: whereby configure --token-stdin"),
        ],
    })
}

fn details(screen: &Screen, look: Look, columns: usize) -> Text {
    let mut text = Text::new(columns, look);
    let times = &screen.data.times;
    match screen.view {
        View::Waiting => {
            if let Some(item) = screen.item() {
                waiting(item, times, &mut text);
            }
        }
        View::Happened => {
            if let Some(event) = screen.event() {
                happened(event, times, &mut text);
            }
        }
        View::Agents => {
            if let (Some(own), Ok(rules)) = (screen.actor(), &screen.data.rules) {
                actor(own, rules.actors.len() == 1, times, &mut text);
                if own.name.is_none() {
                    if !rules.tokens.is_empty() {
                        text.gap();
                        text.add(Tone::Strong, "Tokens without an agent");
                        tokens(&rules.tokens, times, &mut text);
                    }
                    for warning in &rules.warnings {
                        text.gap();
                        text.add(Tone::Warning, &format!("Warning: {}", foreign(warning)));
                    }
                }
            }
        }
        View::Accounts => {
            if let Some(own) = screen.account() {
                account(own, times, &mut text);
            }
        }
    }
    text
}

// Waiting.

fn waiting_row(item: &Item, has_room: bool, times: &Times) -> Row {
    let approval = &item.approval;
    let (side, tone) = match approval.state {
        ApprovalState::Pending if !has_room => (left(times, approval.expires_at), Tone::Plain),
        ApprovalState::Pending => {
            let who = approval.agent.as_deref().unwrap_or(&approval.front_end);
            let left = left(times, approval.expires_at);
            (format!("{}  {left:>7}", cut(&foreign(who), 14)), Tone::Plain)
        }
        ApprovalState::Approved => ("Approved".to_owned(), Tone::Good),
        ApprovalState::Used => ("Approved, made".to_owned(), Tone::Good),
        ApprovalState::Denied => ("Denied".to_owned(), Tone::Bad),
        ApprovalState::Expired => ("Expired".to_owned(), Tone::Muted),
    };
    Row { lead: String::new(), text: item.sentence.to_string(), side, tone }
}

fn waiting(item: &Item, times: &Times, text: &mut Text) {
    let approval = &item.approval;
    let is_pending = approval.state == ApprovalState::Pending;
    text.add(Tone::Strong, &item.sentence.to_string());
    if is_pending && item.is_destructive {
        text.add(Tone::Bad, "This cannot be undone.");
    }
    if !is_pending {
        text.add(Tone::Plain, &state(approval, times));
    }
    text.gap();
    let who = who(&approval.front_end, approval.client.as_deref(), approval.agent.as_deref());
    text.fact("Asked by", &format!("{who}, {}", times.relative(approval.created_at)));
    text.fact("Account", &format!("{} at {}", foreign(&approval.account), foreign(&approval.api)));
    text.fact("Because", &foreign(&approval.rule));
    if is_pending {
        let at = times.clock(approval.expires_at);
        text.fact("Expires", &format!("{}, at {at}", times.relative(approval.expires_at)));
    }
    if let Some(token) = &approval.token {
        text.fact("Token", &ids(token));
    }
    text.fact("Approval", &foreign(&approval.id));
    arguments(&approval.function, &approval.arguments, text);
}

fn ids(ids: &[String]) -> String {
    ids.iter().map(|id| foreign(id)).collect::<Vec<_>>().join(" > ")
}

/// Adds arguments in full.
fn arguments(function: &str, value: &Value, text: &mut Text) {
    let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
    let none = if is_empty { ": none" } else { ":" };
    text.add(Tone::Muted, &format!("Exact arguments of {}{none}", foreign(function)));
    if !is_empty {
        text.json(value);
    }
}

// Happened.

fn filters(screen: &Screen) -> String {
    let filter = &screen.filter;
    let result = Class::ALL.into_iter().find(|(class, _, _)| filter.result == Some(*class));
    let result = result.map_or("all", |(_, _, shown)| shown);
    let own = |name: &Option<String>| name.as_deref().map_or_else(|| "all".into(), foreign);
    format!(
        "r result: {result}   g agent: {}   c account: {}   n function: {}",
        own(&filter.agent),
        own(&filter.account),
        own(&filter.function)
    )
}

fn class(class: Class) -> (&'static str, Tone) {
    let (_, _, shown) =
        Class::ALL.into_iter().find(|(own, _, _)| *own == class).unwrap_or(Class::ALL[0]);
    let tone = match class {
        Class::Done => Tone::Good,
        Class::Refused | Class::Failed => Tone::Bad,
        Class::Waits | Class::Unclear => Tone::Warning,
        Class::Open | Class::Decision => Tone::Muted,
    };
    (shown, tone)
}

fn event_row(event: &Event, times: &Times) -> Row {
    let (side, tone) = class(event.class);
    let lead = format!("{}  ", times.clock(event.row.time));
    Row { lead, text: event.sentence.to_string(), side: side.to_owned(), tone }
}

fn happened(event: &Event, times: &Times, text: &mut Text) {
    let row = &event.row;
    let (result, tone) = class(event.class);
    text.add(Tone::Strong, &event.sentence.to_string());
    text.add(tone, result);
    if let Some(decision) = &row.decision {
        decided(row, decision, times, text);
        return;
    }
    match &row.outcome {
        Some(outcome) => outcome_of_call(outcome, text),
        None => {
            text.add(Tone::Plain, "The call is under way, or the program was stopped during it.")
        }
    }
    text.gap();
    text.fact("When", &times.exact(row.time, "%-d %B %Y, %H:%M:%S %Z"));
    text.fact("Who", &who(&row.front_end, row.client.as_deref(), row.agent.as_deref()));
    if let Some(account) = &row.account {
        let at = row.api.as_deref().map(|api| format!(" at {}", foreign(api)));
        text.fact("Account", &format!("{}{}", foreign(account), at.unwrap_or_default()));
    }
    if let Some(rule) = &row.rule {
        text.fact("Rule", &foreign(rule));
    }
    if let Some(by) = &row.approved_by {
        let by = foreign(allowed_by(by));
        let id = row.approval.as_deref().map(|id| format!(" ({})", foreign(id)));
        text.fact("Allowed by", &format!("{by}{}", id.unwrap_or_default()));
    }
    if let Some(token) = &row.token {
        text.fact("Token", &ids(token));
    }
    text.fact("Call", &foreign(&row.id));
    arguments(row.function.as_deref().unwrap_or("no function"), &row.arguments, text);
    if let Some(outcome) = &row.outcome {
        if outcome.requests.is_empty() {
            text.add(Tone::Muted, "No request was sent to Whereby.");
            return;
        }
        text.add(Tone::Muted, "Requests to Whereby:");
        for request in &outcome.requests {
            let status = request.status.map_or_else(|| "no response".into(), |s| s.to_string());
            let (method, path) = (foreign(&request.method), foreign(&request.path));
            text.point(&format!("{method} {path}: {status}, {:.0} ms", request.duration_ms));
        }
    }
}

/// Shows what a person decided.
fn decided(row: &AuditRow, decision: &AuditDecision, times: &Times, text: &mut Text) {
    let place = foreign(decided_in(&decision.place));
    let passkey = if decision.passkey.is_some() { ", with a passkey" } else { "" };
    text.gap();
    text.fact("When", &times.exact(row.time, "%-d %B %Y, %H:%M:%S %Z"));
    text.fact("Who", &format!("{} {place}{passkey}", foreign(&decision.user)));
    for (name, value) in
        [("Account", &row.account), ("Agent", &row.agent), ("Approval", &row.approval)]
    {
        if let Some(value) = value {
            text.fact(name, &foreign(value));
        }
    }
    text.fact("Row", &foreign(&row.id));
    // What a passkey signed is on the page.
    let (details, _) = decision_details(decision);
    if details.as_object().is_some_and(|details| !details.is_empty()) {
        text.fact("Details", &foreign(&whereby_authority::text::spaced_json(&details)));
    }
}

fn outcome_of_call(outcome: &AuditOutcome, text: &mut Text) {
    if let Some(message) = &outcome.message {
        let kind = outcome.kind.as_deref().map(|kind| format!("{}: ", foreign(kind)));
        text.add(Tone::Plain, &format!("{}{}", kind.unwrap_or_default(), foreign(message)));
    }
    if let Some(room) = &outcome.room_name {
        let id = outcome.room_id.as_deref().map(|id| format!(" ({})", foreign(id)));
        text.add(Tone::Plain, &format!("Room: `{}`{}", foreign(room), id.unwrap_or_default()));
    }
    match outcome.effect.as_str() {
        "none" | "done" if outcome.success => {}
        "none" => text.add(Tone::Plain, "Nothing was changed."),
        "done" => text.add(Tone::Warning, "It failed after Whereby had made the change."),
        _ => text.add(Tone::Warning, "It may have changed something. Look before repeating it."),
    }
}

// Agents and rules.

fn actor_name(actor: &Actor, is_only: bool) -> String {
    match &actor.name {
        Some(name) => foreign(name),
        None if is_only => "Every call".into(),
        None => "Calls without an agent".into(),
    }
}

fn actor_row(actor: &Actor, is_only: bool, times: &Times) -> Row {
    let is_over = actor.valid_until.is_some_and(|until| until.to_unix_ms() <= times.now);
    let (side, tone) = match (actor.freezes.is_empty(), is_over) {
        (false, _) => ("Frozen", Tone::Bad),
        (true, true) => ("Expired", Tone::Bad),
        (true, false) => ("", Tone::Plain),
    };
    Row { lead: String::new(), text: actor_name(actor, is_only), side: side.into(), tone }
}

fn actor(actor: &Actor, is_only: bool, times: &Times, text: &mut Text) {
    for freeze in &actor.freezes {
        text.add(Tone::Bad, &format!("Frozen: {}", self::freeze(freeze, times)));
    }
    if let Some(until) = actor.valid_until {
        let until = until.to_unix_ms();
        let word = if until <= times.now { "Expired" } else { "Expires" };
        text.fact(word, &times.relative(until));
    }
    if actor.accounts.is_empty() {
        text.add(Tone::Plain, "It can use no account.");
    }
    for access in &actor.accounts {
        self::access(access, actor.accounts.len() > 1, text);
    }
    if actor.name.is_some() {
        text.gap();
        text.add(Tone::Strong, "Tokens");
        if actor.tokens.is_empty() {
            text.add(Tone::Muted, "None.");
        }
        tokens(&actor.tokens, times, text);
    } else if is_only {
        text.gap();
        text.add(
            Tone::Muted,
            "There are no agents. To give one rules of its own, run: whereby agents add NAME",
        );
    }
}

fn access(access: &Access, is_one_of_several: bool, text: &mut Text) {
    if !text.lines.is_empty() {
        text.gap();
    }
    if is_one_of_several || access.accounts.len() > 1 {
        let names: Vec<String> = access.accounts.iter().map(|name| foreign(name)).collect();
        let s = if names.len() == 1 { "" } else { "s" };
        text.add(Tone::Strong, &format!("With the account{s} {}", names.join(", ")));
    }
    for (permission, tone, title) in [
        (Permission::Allow, Tone::Good, "May do"),
        (Permission::Ask, Tone::Warning, "Asks you first"),
        (Permission::Deny, Tone::Bad, "May not do"),
    ] {
        let of = access.functions.iter().filter(|(_, outlook)| outlook.permission == permission);
        let of: Vec<&(_, Outlook)> = of.collect();
        if of.is_empty() {
            continue;
        }
        text.add(tone, title);
        // Those without conditions fit on a line.
        let (plain, limited): (Vec<_>, Vec<_>) = of
            .iter()
            .map(|(function, outlook)| (function.json, conditions(outlook)))
            .partition(|(_, conditions)| conditions.is_empty());
        if !plain.is_empty() {
            let names: Vec<&str> = plain.iter().map(|(name, _)| *name).collect();
            text.point(&names.join(", "));
        }
        for (name, conditions) in limited {
            text.point(&format!("{name}, {conditions}"));
        }
    }
    match access.participants {
        Participants::Names => {}
        Participants::Hidden => text.add(Tone::Muted, "People in meetings are hidden."),
        Participants::Pseudonyms => {
            text.add(Tone::Muted, "People in meetings have pseudonyms.");
        }
    }
    let is_shown = |usage: &&Usage| {
        usage.max_per_hour.is_some() || usage.max_per_day.is_some() || usage.written.last_day > 0
    };
    let used: Vec<&Usage> = access.usage.iter().filter(is_shown).collect();
    if used.is_empty() {
        return;
    }
    text.add(Tone::Muted, "Use");
    for usage in used {
        let with = match access.accounts.len() {
            1 => String::new(),
            _ => format!(" with {}", foreign(&usage.account)),
        };
        let of = |count: u32, max: Option<u32>, span: &str| match max {
            Some(max) => format!("{count} of {max} in {span}"),
            None => format!("{count} in {span}"),
        };
        text.point(&format!(
            "{}{with}: {}, {}",
            usage.function.json,
            of(usage.written.last_hour, usage.max_per_hour, "the last hour"),
            of(usage.written.last_day, usage.max_per_day, "the last 24 hours")
        ));
    }
}

/// Returns the conditions of a permission, and what holds if they are not met. When an agent expires is
/// beside its name.
fn conditions(outlook: &Outlook) -> String {
    let groups = conditions_in_words(outlook);
    let group = |(conditions, otherwise): &(String, &str)| {
        format!("{}; otherwise {otherwise}", foreign(conditions))
    };
    groups.iter().map(group).collect::<Vec<_>>().join("; also ")
}

fn tokens(tokens: &[CreatedToken], times: &Times, text: &mut Text) {
    for token in tokens {
        let limits = match token.limits_in_words() {
            limits if limits.is_empty() => "no limits of its own".into(),
            limits => limits,
        };
        let left = token.uses_left().map(|left| format!(", {left} uses left")).unwrap_or_default();
        text.point(&format!(
            "{}: {limits}{left}, created {}, {}",
            token.state(times.now),
            times.relative(token.created_at),
            foreign(&token.id)
        ));
    }
}

// Accounts.

fn account_row(account: &AccountState, times: &Times) -> Row {
    let (key, tone) = key(&account.key, times);
    let (side, tone) = match (account.account.enabled, account.freezes.is_empty()) {
        (_, false) => ("Frozen".to_owned(), Tone::Bad),
        (false, _) => ("Switched off".to_owned(), Tone::Muted),
        (true, true) if tone == Tone::Plain => ("On".to_owned(), Tone::Good),
        _ => (key, tone),
    };
    let default = if account.is_default { " (default)" } else { "" };
    Row { lead: String::new(), text: format!("{}{default}", foreign(&account.name)), side, tone }
}

/// Returns what is known about a key, in few words.
fn key(key: &Key, times: &Times) -> (String, Tone) {
    match key {
        Key::Expires(date) if date.to_unix_ms() <= times.now => ("Key expired".into(), Tone::Bad),
        Key::Expires(date) if date.to_unix_ms() < times.now.saturating_add(14 * DAY) => {
            ("Key expires soon".into(), Tone::Warning)
        }
        Key::Problem(_) => ("No key".into(), Tone::Bad),
        _ => (String::new(), Tone::Plain),
    }
}

fn account(state: &AccountState, times: &Times, text: &mut Text) {
    for freeze in &state.freezes {
        text.add(Tone::Bad, &format!("Frozen: {}", self::freeze(freeze, times)));
    }
    let (word, tone) = key(&state.key, times);
    if !word.is_empty() {
        text.add(tone, &format!("{word}."));
    }
    let on = if state.account.enabled { "on" } else { "switched off" };
    let default = if state.is_default { ", the default account" } else { "" };
    text.fact("State", &format!("{on}{default}"));
    let key = match &state.key {
        Key::Expires(date) if date.to_unix_ms() <= times.now => format!(
            "expired {}; make a new one in Whereby's dashboard under Configure, API",
            times.relative(date.to_unix_ms())
        ),
        Key::Expires(date) => format!("expires {}", times.relative(date.to_unix_ms())),
        Key::Undated => "expiry date unknown".into(),
        Key::Unread => {
            "a command prints it, which only a call runs, so its expiry is not known here".into()
        }
        Key::Problem(why) => foreign(why),
    };
    text.fact("Key", &key);
    text.fact("Key from", &foreign(&state.account.token.in_words()));
    text.fact("API", &foreign(&state.account.api.to_string()));
    text.fact(
        "People",
        match state.participants {
            Participants::Names => "shown by name",
            Participants::Pseudonyms => "shown under pseudonyms",
            Participants::Hidden => "hidden",
        },
    );
}
