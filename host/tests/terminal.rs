//! The program on a terminal of its own: each command at three widths, with and without colours.

#![cfg(all(unix, feature = "simulator"))]

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::LazyLock;
use tempfile::TempDir;
use time::macros::datetime;
use whereby::simulator::{Options, OrganizationSeed, Reply, RoomSeed, Seed, Simulator};

#[path = "terminal/setup.rs"]
mod setup;

const ESCAPE: char = '\u{1b}';

/// Compiled code is kept for the whole run.
static CACHE: LazyLock<TempDir> = LazyLock::new(temporary);

/// A folder whose name is equally long everywhere, because the width of what is shown depends on it.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/tmp").expect("a temporary directory")
}

/// A user with two accounts, and a simulated Whereby whose clock stands still.
struct User {
    home: TempDir,
    simulator: Simulator,
}

/// A terminal, and whether its user wants colours.
#[derive(Clone, Copy)]
struct Screen {
    columns: u16,
    colours: bool,
}

impl User {
    async fn new() -> Self {
        let simulator = Simulator::start(Options {
            organizations: vec![
                OrganizationSeed::new("acme-demo", Seed::Demo),
                OrganizationSeed::new("school-demo", Seed::Rooms(RoomSeed::many("lesson-", 250))),
            ],
            now: Some(datetime!(2026-03-02 12:00 UTC)),
            ..Options::default()
        })
        .await
        .expect("a simulator");
        let home = temporary();
        let folder = home.path().join(".config/whereby");
        fs::create_dir_all(&folder).expect("a folder");
        let mut config = "default_account = \"work\"\n".to_owned();
        for (name, token) in ["work", "school"].into_iter().zip(simulator.tokens()) {
            let url = simulator.url();
            config +=
                &format!("[accounts.{name}]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n");
        }
        config += "[accounts.school.permissions]\nwrite = \"deny\"\n";
        let file = folder.join("config.toml");
        fs::write(&file, config).expect("a configuration");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        Self { home, simulator }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", CACHE.path())
            .env("TERM", "xterm-256color")
            .env("TZ", "EST5");
        command
    }

    /// What a command shows on a terminal whose user answers each question in turn.
    fn shown(&self, screen: Screen, arguments: &[&str], answers: &[(&str, &str)]) -> String {
        let mut terminal = Terminal::start(self.command(arguments), screen);
        for (question, answer) in answers {
            terminal.read_until(question);
            terminal.write(answer);
        }
        terminal.read_until("");
        terminal.child.wait().expect("it ends");
        let shown = without_status(&terminal.shown.replace("\r\n", "\n"));
        let has_own_dates = ["approvals", "audit", "demo"].contains(&arguments[0]);
        self.still(&shown, has_own_dates)
    }

    /// The text with what differs from run to run replaced by something as wide.
    fn still(&self, text: &str, has_own_dates: bool) -> String {
        let text = text.replace(self.home.path().to_str().expect("UTF-8"), "/home/somebody0");
        let text = text.replace(CACHE.path().to_str().expect("UTF-8"), "/home/cache0000");
        // A port, the size of a component, and an id or a digest.
        let mut forms = vec!["127.0.0.1:00000", "000000 bytes"];
        if has_own_dates {
            forms.extend(["0000-00-00 00:00:00", "0000-00-00T00:00:00Z"]);
        }
        // A room's key is signed at its time, and a cursor can hold the time of a meeting.
        let text = without_word_after("roomKey=", &text);
        let text = without_word_after("meta.nextCursor  ", &text);
        let text = forms.iter().fold(text, |text, form| like(&text, form));
        without_hex(&text, &[16, 32, 64])
    }

    /// The document of a command that is run elsewhere.
    fn document(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.command(arguments).arg("--json").output().expect("it starts");
        serde_json::from_slice(&output.stdout).expect("one document")
    }
}

/// The text with zeros in the place of the digits wherever it has this form.
fn like(text: &str, form: &str) -> String {
    let form: Vec<char> = form.chars().collect();
    let mut text: Vec<char> = text.chars().collect();
    for at in 0..text.len().saturating_sub(form.len() - 1) {
        let part = &mut text[at..at + form.len()];
        let fits = |(is, form): (&char, &char)| match form {
            '0' => is.is_ascii_digit(),
            form => is == form,
        };
        if part.iter().zip(&form).all(fits) {
            part.copy_from_slice(&form);
        }
    }
    text.into_iter().collect()
}

/// What stays on the screen: the status of a slow command is written over.
fn without_status(text: &str) -> String {
    let is_status =
        |part: &str| ["- ", "\\ ", "| ", "/ "].iter().any(|frame| part.starts_with(frame));
    let mut parts = text.split("\r\u{1b}[K");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter(|part| !is_status(part)).fold(first, |shown, part| shown + part)
}

/// The text with an `x` for each character of what follows these words up to white space.
fn without_word_after(before: &str, text: &str) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let end = part.find(char::is_whitespace).unwrap_or(part.len());
        format!("{shown}{before}{}{}", "x".repeat(end), &part[end..])
    })
}

/// The text with an `x` for each digit of a hexadecimal number that is so long.
fn without_hex(text: &str, lengths: &[usize]) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_hex) {
        let (before, after) = rest.split_at(at);
        let end = after.find(|c| !is_hex(c)).unwrap_or(after.len());
        shown += before;
        match lengths.contains(&end) {
            true => shown += &"x".repeat(end),
            false => shown += &after[..end],
        }
        rest = &after[end..];
    }
    shown + rest
}

/// A pseudo-terminal with a program on it, which is ended with it.
struct Terminal {
    ours: File,
    child: Child,
    bytes: Vec<u8>,
    shown: String,
    /// How much of what was shown was waited for.
    seen: usize,
}

impl Terminal {
    fn start(mut command: Command, screen: Screen) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        // The program must not keep our end open.
        #[cfg(target_os = "linux")]
        let flags = flags | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).expect("a terminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it can be opened");
        let size = Winsize { ws_row: 50, ws_col: screen.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("a size");
        let path = ptsname(&ours, Vec::new()).expect("a name");
        let path = Path::new(path.to_str().expect("UTF-8"));
        let theirs = OpenOptions::new().read(true).write(true).open(path).expect("its other end");
        let stream = || theirs.try_clone().expect("a stream");
        if !screen.colours {
            command.env("NO_COLOR", "1");
        }
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let child = command.spawn().expect("the program starts");
        Self { ours: File::from(ours), child, bytes: Vec::new(), shown: String::new(), seen: 0 }
    }

    /// Reads until this is shown after what was waited for before; to the end where it is empty.
    fn read_until(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        loop {
            if !text.is_empty()
                && let Some(at) = self.shown[self.seen..].find(text)
            {
                self.seen += at + text.len();
                return;
            }
            // It hangs up where the program has ended: EIO on Linux, the end of the file elsewhere.
            let read = self.ours.read(&mut buffer).unwrap_or(0);
            if read == 0 {
                break;
            }
            self.bytes.extend_from_slice(&buffer[..read]);
            let whole = String::from_utf8_lossy(&self.bytes);
            self.shown = whole.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
        }
        assert!(text.is_empty(), "`{text}` was not shown, but: {}", self.shown);
    }

    fn write(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).expect("the terminal takes it");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a user of this terminal sees, one command after the other.
async fn session(screen: Screen) -> String {
    let user = User::new().await;
    let mut all = String::new();
    let mut answer = |arguments: &[&str], answers: &[(&str, &str)]| {
        let shown = user.shown(screen, arguments, answers);
        let words: Vec<String> = arguments
            .iter()
            .map(|word| match word.contains([' ', '{', '"']) {
                true => format!("'{word}'"),
                false => (*word).to_owned(),
            })
            .collect();
        all += &format!("$ whereby {}\n{shown}\n", user.still(&words.join(" "), false));
    };
    let mut run = |arguments: &[&str]| answer(arguments, &[]);
    let meetings = user.document(&["call", "list_meetings", "--arg", "limit=5"]);
    let meeting = meetings["data"]["data"][4]["id"].as_str().expect("an id").to_owned();
    let room = meetings["data"]["data"][4]["roomName"].as_str().expect("a name").to_owned();
    run(&["list"]);
    run(&["list", "--account", "work"]);
    run(&["search", "who attended"]);
    run(&["accounts"]);
    run(&["doctor"]);
    run(&["call", "list_rooms"]);
    run(&["call", "list_rooms", "--prefix", "design-"]);
    run(&["call", "get_room", "--arg", &format!("room_name={room}")]);
    run(&["call", "list_meetings", "--arg", "limit=5"]);
    run(&["call", "list_meetings", "--arg", "to_date=2020-01-01"]);
    run(&["call", "get_meeting", "--arg", &format!("meeting_id={meeting}")]);
    run(&["call", "get_current_user"]);
    let end = ["--arg", "end_date=2099-01-01T00:00:00Z"];
    run(&[&["call", "create_room", "--force"], &end[..]].concat());
    run(&["call", "create_room", "--account", "school"]);
    run(&["call", "get_room", "--arg", "room_name=nowhere"]);
    run(&["call", "delete_room", "--arg", "room_name=nowhere", "--if-exists", "--force"]);
    run(&["call", "delete_room", "--arg", "room_name=nowhere", "--dry-run"]);
    run(&["lua", "-e", "return app.integrations.whereby.list_meetings({ limit = 2 })"]);
    user.document(&[&["call", "create_room"], &end[..]].concat());
    run(&["approvals", "list"]);
    let approvals = user.document(&["approvals", "list"]);
    let id = approvals["approvals"][0]["id"].as_str().expect("an id");
    run(&["approvals", "show", id]);
    run(&["approvals", "approve", id]);
    run(&["audit"]);
    run(&["demo"]);
    let delete = ["call", "delete_room", "--arg", &format!("room_name={room}")];
    answer(&delete, &[("[y/N] ", "y\n")]);
    all
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let (style, rest) = part.split_once('m').expect("a style ends");
        let is_style = style.chars().all(|c| c.is_ascii_digit() || matches!(c, '[' | ';'));
        assert!(is_style, "{style:?} is more than a colour");
        shown + rest
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_result_is_readable_at_each_width() {
    for columns in [80, 120, 200] {
        let plain = session(Screen { columns, colours: false }).await;
        let coloured = session(Screen { columns, colours: true }).await;
        assert!(!plain.contains(ESCAPE), "colours that nobody wants: {plain:?}");
        assert!(coloured.contains(ESCAPE));
        assert_eq!(without_colours(&coloured), plain, "colours are all that differs");
        assert!(!plain.contains("\\u{"), "an escape that was escaped: {plain}");
        insta::assert_snapshot!(format!("terminal_{columns}"), plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_is_clean_on_a_terminal() {
    let user = User::new().await;
    let screen = Screen { columns: 80, colours: true };
    let help = user.shown(screen, &["--help"], &[]);
    let commands = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next());
    let commands: Vec<&str> = commands
        .expect("a list of commands")
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once(' '))
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty())
        .collect();
    let runs: &[&[&str]] = &[
        &["call", "list_rooms", "--account", "school", "--all", "-v"],
        &["list"],
        &["docs"],
        &["schema", "create_room"],
        &["search", "rooms"],
        &["configure", "--read", "allow"],
        &["accounts"],
        &["agents", "list"],
        &["freeze", "--reason", "a look at what happened"],
        &["unfreeze"],
        &["permissions"],
        &["token", "list"],
        &["doctor", "-v"],
        &["inbox", "--help"],
        &["serve", "--help"],
        &["approvals", "list"],
        &["audit"],
        &["lua", "-e", "print(app.integrations.whereby.list_rooms({}).data[1].roomName)", "-v"],
        &["component", "inspect"],
        &["mcp", "--help"],
        &["completions", "bash"],
        &["man"],
        &["demo"],
        &["setup", "--help"],
        &["simulate", "--help"],
        &["help"],
    ];
    for command in commands {
        let arguments = runs.iter().find(|run| run[0] == command);
        let arguments = arguments.unwrap_or_else(|| panic!("`{command}` is not run"));
        let shown = user.shown(screen, arguments, &[]);
        assert!(!shown.is_empty() && !shown.contains("\\u{1b}"), "{arguments:?}: {shown}");
        assert!(!shown.contains("error:"), "{arguments:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_followed_in_the_columns_in_which_it_is_listed() {
    let user = User::new().await;
    for columns in [80, 120, 200] {
        let screen = Screen { columns, colours: false };
        user.document(&["call", "list_rooms", "--arg", "limit=1"]);
        let command = user.command(&["audit", "--follow", "--limit", "1"]);
        let mut terminal = Terminal::start(command, screen);
        terminal.read_until("}");
        user.document(&["call", "get_room", "--account", "school", "--arg", "room_name=none"]);
        terminal.read_until("}");
        terminal.child.kill().expect("it goes on until it is stopped");
        let followed = user.still(&terminal.shown.replace("\r\n", "\n"), true);
        let listed = user.shown(screen, &["audit", "--limit", "2"], &[]);
        insta::assert_snapshot!(
            format!("follow_{columns}"),
            format!("$ whereby audit --follow\n{followed}\n$ whereby audit\n{listed}")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_typed_is_not_shown() {
    let user = User::new().await;
    let screen = Screen { columns: 80, colours: false };
    let configure = ["configure", "--account", "new", "--token-stdin"];
    let token = user.simulator.token().to_owned();
    for (typed, kept, words) in [
        (format!("{token}\r"), Some(token.as_str()), &["next", "whereby doctor"][..]),
        // Ctrl-U drops what was typed, and the key for that the last character.
        ("wrong\u{15}0paquex\u{7f}\n".to_owned(), Some("0paque"), &["does not look like", "next"]),
        ("half a key\u{3}".to_owned(), None, &[]),
    ] {
        let shown = user.shown(screen, &configure, &[("typ", &typed)]);
        assert!(shown.starts_with("API key (not shown while you type): \n"), "{shown:?}");
        assert!(!shown.contains("paque") && !shown.contains(&token) && !shown.contains("half"));
        for word in words {
            assert!(shown.contains(word), "`{word}` is missing: {shown}");
        }
        let file = user.home.path().join(".config/whereby/config.toml");
        let config = fs::read_to_string(file).expect("a configuration");
        let is_kept = |kept: &str| config.contains(&format!("access_token = \"{kept}\"\n"));
        assert!(kept.is_none_or(is_kept), "{config}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_typed_before_a_question_does_not_answer_it() {
    let user = User::new().await;
    let screen = Screen { columns: 80, colours: false };
    for (arguments, question) in [
        (&["call", "create_room", "{}"][..], "[y/N] "),
        #[cfg(feature = "lua")]
        (&["lua", "-e", "app.integrations.whereby.create_room({})"], "[y/N] "),
    ] {
        let mut terminal = Terminal::start(user.command(arguments), screen);
        terminal.write("y\ny\n");
        terminal.read_until(question);
        // Nor does what was typed before the question is asked again.
        terminal.write("maybe\n");
        terminal.read_until(question);
        terminal.write("n\n");
        terminal.read_until("");
        let status = terminal.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(4), "{arguments:?}: {}", terminal.shown);
        assert!(user.simulator.requests().is_empty(), "{}", terminal.shown);
    }
    let configure = user.command(&["configure", "--account", "new", "--token-stdin"]);
    let mut terminal = Terminal::start(configure, screen);
    terminal.write("pasted-too-early\n");
    terminal.read_until("API key");
    terminal.write("meant.for.it\n");
    terminal.read_until("");
    let file = user.home.path().join(".config/whereby/config.toml");
    let config = fs::read_to_string(file).expect("a configuration");
    assert!(config.contains("\"meant.for.it\""), "{}", terminal.shown);
}

/// Two calls side by side ask one after the other, and each gets the answer to its own question.
#[cfg(feature = "lua")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_questions_at_once_are_answered_one_by_one() {
    let user = User::new().await;
    let screen = Screen { columns: 120, colours: false };
    let script = "local create = app.integrations.whereby.create_room\n\
                  local ok = { one = false, two = false }\n\
                  local function try(name)\n\
                      return function() ok[name] = pcall(create, { room_name_prefix = name .. '-' }) end\n\
                  end\n\
                  app.parallel({ try('one'), try('two') })\n\
                  print('one', ok.one, 'two', ok.two)";
    for answers in [["y\n", "n\n"], ["n\n", "y\n"], ["y\n", "y\n"], ["n\n", "n\n"]] {
        let made = user.simulator.requests().len();
        let mut terminal = Terminal::start(user.command(&["lua", "-e", script]), screen);
        let mut approved = Vec::new();
        let mut asked = Vec::new();
        for answer in answers {
            let before = terminal.seen;
            terminal.read_until("[y/N] ");
            let question = &terminal.shown[before..terminal.seen];
            let names = ["one", "two"]
                .into_iter()
                .filter(|name| question.contains(&format!("\"{name}-\"")));
            let names: Vec<&str> = names.collect();
            let [name] = names.as_slice() else {
                panic!("{names:?} are asked at once: {question}")
            };
            asked.push(*name);
            if answer == "y\n" {
                approved.push(*name);
            }
            terminal.write(answer);
        }
        terminal.read_until("");
        let status = terminal.child.wait().expect("it ends");
        assert!(status.success(), "{}", terminal.shown);
        asked.sort_unstable();
        assert_eq!(asked, ["one", "two"], "{}", terminal.shown);
        assert_eq!(terminal.shown.matches("[y/N] ").count(), 2, "{}", terminal.shown);
        let is_approved = |name| approved.contains(&name);
        let told = format!("one\t{}\ttwo\t{}", is_approved("one"), is_approved("two"));
        let shown = terminal.shown.split_whitespace().collect::<Vec<_>>().join("\t");
        assert!(shown.ends_with(&told), "`{told}` is missing: {}", terminal.shown);
        let sent: Vec<String> = user.simulator.requests()[made..]
            .iter()
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .collect();
        assert_eq!(sent.len(), approved.len(), "{sent:?}");
        for name in approved {
            assert!(sent.iter().any(|body| body.contains(&format!("\"{name}-\""))), "{sent:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_leaves_the_terminal_as_it_was() {
    let user = User::new().await;
    let screen = Screen { columns: 80, colours: false };
    for (arguments, prompt) in [
        (&["configure", "--account", "new", "--token-stdin"][..], "typ"),
        #[cfg(feature = "lua")]
        (&["lua"], "lua> "),
    ] {
        let mut terminal = Terminal::start(user.command(arguments), screen);
        let before = tcgetattr(&terminal.ours).expect("settings").local_modes;
        terminal.read_until(prompt);
        let id = terminal.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.expect("kill runs").success());
        let status = terminal.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(143), "{arguments:?}: {}", terminal.shown);
        let after = tcgetattr(&terminal.ours).expect("settings").local_modes;
        assert_eq!(after, before, "{arguments:?}");
    }
}

#[cfg(feature = "lua")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_keeps_the_order_of_columns() {
    let user = User::new().await;
    let screen = Screen { columns: 200, colours: false };
    let typed = "app.integrations.whereby.list_meetings({ limit = 1 })\r";
    let answers = [("lua> ", typed), ("times are in", ""), ("lua> ", "\u{4}")];
    let shown = user.shown(screen, &["lua"], &answers);
    let heading =
        shown.lines().find(|line| line.contains("roomName") && line.contains("startDate"));
    let columns: Vec<&str> = heading.expect("a table").split_whitespace().collect();
    let call = user.shown(screen, &["call", "list_meetings", "--arg", "limit=1"], &[]);
    let expected: Vec<&str> = call.lines().next().expect("a heading").split_whitespace().collect();
    assert_eq!(columns, expected, "{shown}");
}

/// A link to `/dev/null` is how people switch a history off.
#[cfg(feature = "lua")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_file_is_not_taken_for_the_history_of_the_console() {
    let user = User::new().await;
    let folder = user.home.path().join(".local/state/whereby");
    fs::create_dir_all(&folder).expect("a folder");
    let pipe = user.home.path().join("pipe");
    let made = Command::new("mkfifo").args(["-m", "644"]).arg(&pipe).status().expect("it runs");
    assert!(made.success());
    std::os::unix::fs::symlink(&pipe, folder.join("lua-history")).expect("a link");
    let screen = Screen { columns: 80, colours: false };
    user.shown(screen, &["lua"], &[("lua> ", "1 + 1\r"), ("2", ""), ("lua> ", "\u{4}")]);
    assert_eq!(pipe.metadata().expect("a pipe").permissions().mode() & 0o777, 0o644);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_waits_for_is_shown() {
    let user = User::new().await;
    let screen = Screen { columns: 60, colours: false };
    for (arguments, words) in [
        (&["call", "list_rooms"][..], "list_rooms: waiting for GET /meetings"),
        (&["doctor", "--account", "school"], "checking the account school: waiting for GET"),
    ] {
        user.simulator.script("GET", "/v1/meetings", 1, Reply::status(200).never_answering());
        let mut terminal = Terminal::start(user.command(arguments), screen);
        terminal.read_until(words);
        let line = terminal.shown.split('\r').find(|line| line.contains(words));
        let line = line.expect("a line").replace("\u{1b}[K", "");
        assert!(line.chars().count() < 60, "{line:?} is more than a line");
    }
}

/// The inbox on a terminal, with a call that waits.
#[cfg(feature = "inbox")]
mod inbox {
    use super::*;
    use rustix::termios::{LocalModes, tcgetwinsize};

    const CREATE: &[&str] = &["call", "create_room", "--arg", "room_name_prefix=bot-"];
    const DELETE: &[&str] = &["call", "delete_room", "--arg", "room_name=standup"];

    fn open(user: &User, calls: &[&[&str]]) -> Terminal {
        for call in calls {
            user.document(call);
        }
        let mut terminal = user.inbox();
        terminal.read_screen("Asked by");
        terminal
    }

    impl User {
        fn inbox(&self) -> Terminal {
            Terminal::start(self.command(&["inbox"]), Screen { columns: 80, colours: true })
        }

        /// The states of all approvals, in the order in which they were requested.
        fn states(&self) -> Vec<String> {
            let all = self.document(&["approvals", "list", "--all"]);
            let all = all["approvals"].as_array().expect("a list");
            all.iter().map(|one| one["state"].as_str().expect("a state").to_owned()).collect()
        }
    }

    /// Leaves with a key, and checks that everything is as it was.
    fn quit(mut terminal: Terminal) {
        terminal.write("q");
        terminal.read_until("");
        let status = terminal.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", terminal.shown);
        let left = terminal.screen().screen().contents();
        assert!(!left.contains("Waiting"), "something is left on the screen: {left}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_is_approved_and_denied_with_keys() {
        let user = User::new().await;
        let mut terminal = open(&user, &[CREATE, DELETE]);
        terminal.read_screen("2 calls wait");
        terminal.write("a");
        terminal.read_screen("y: approve");
        terminal.write("y");
        terminal.read_screen("Approved once");
        assert_eq!(user.states(), ["approved", "pending"]);
        // The next one that waits is selected, and needs more than a key.
        terminal.read_screen("This cannot be undone.");
        terminal.write("a");
        terminal.read_screen("Type yes to approve:");
        terminal.write("y\r");
        terminal.read_screen("approve: y▏");
        terminal.write("\u{1b}");
        terminal.read_screen("d deny");
        assert_eq!(user.states(), ["approved", "pending"]);
        terminal.write("d");
        terminal.read_screen("y: deny");
        terminal.write("y");
        terminal.read_screen("Denied: Permanently deletes");
        assert_eq!(user.states(), ["approved", "denied"]);
        user.document(DELETE);
        quit(terminal);
        assert!(user.simulator.requests().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn something_destructive_is_approved_with_a_word() {
        let user = User::new().await;
        let mut terminal = open(&user, &[DELETE]);
        terminal.write("a");
        terminal.read_screen("Type yes to approve:");
        terminal.write("yes");
        terminal.read_screen("approve: yes▏");
        terminal.write("\r");
        terminal.read_screen("Approved once");
        assert_eq!(user.states(), ["approved"]);
        quit(terminal);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_typed_before_the_question_approves_nothing() {
        let user = User::new().await;
        user.document(CREATE);
        let mut terminal = user.inbox();
        // Before anything is shown.
        terminal.write("ay");
        terminal.read_screen("Asked by");
        // In one piece, as from a clipboard.
        terminal.write("ayyy\ry");
        terminal.read_screen("y: approve");
        terminal.write("\u{1b}[200~yes\r\u{1b}[201~");
        terminal.write("n");
        terminal.read_screen("1 call waits");
        assert_eq!(user.states(), ["pending"]);
        quit(terminal);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_that_appears_or_is_decided_elsewhere_is_shown() {
        let user = User::new().await;
        let mut terminal = user.inbox();
        terminal.read_screen("Nothing is waiting.");
        user.document(CREATE);
        terminal.read_screen("1 call waits");
        terminal.write("a");
        terminal.read_screen("y: approve");
        let approvals = user.document(&["approvals", "list"]);
        let id = approvals["approvals"][0]["id"].as_str().expect("an id").to_owned();
        user.document(&["approvals", "deny", &id]);
        terminal.read_screen("Too late to approve; nothing was changed.");
        terminal.write("y");
        user.document(DELETE);
        terminal.read_screen("(1)");
        assert_eq!(user.states(), ["denied", "pending"]);
        quit(terminal);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_is_frozen_with_a_key() {
        let user = User::new().await;
        let mut terminal = open(&user, &[CREATE]);
        terminal.write("f");
        terminal.read_screen("Reason (agents don't see it):");
        terminal.write("a mistake\r");
        terminal.read_screen("Froze everything");
        let refused = user.document(&["call", "list_rooms"]);
        assert_eq!(refused["error"]["kind"], "denied", "{refused}");
        assert!(user.simulator.requests().is_empty());
        terminal.write("u");
        terminal.read_screen("y: unfreeze");
        terminal.write("y");
        terminal.read_screen("Lifted the freeze of everything");
        assert_eq!(user.document(&["call", "list_rooms"])["success"], true);
        quit(terminal);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_terminal_is_as_before_on_every_way_out() {
        let user = User::new().await;
        type Way = fn(&mut Terminal);
        let ways: &[(&str, Way, i32)] = &[
            ("q", |terminal| terminal.write("q"), 0),
            ("Ctrl-C", |terminal| terminal.write("\u{3}"), 130),
            ("SIGINT", |terminal| terminal.signal("INT"), 130),
            ("SIGTERM", |terminal| terminal.signal("TERM"), 143),
            ("SIGHUP", |terminal| terminal.signal("HUP"), 129),
        ];
        for (way, leave, code) in ways {
            let mut terminal = open(&user, &[CREATE]);
            assert!(terminal.screen().screen().alternate_screen() && terminal.is_raw());
            leave(&mut terminal);
            terminal.read_until("");
            let status = terminal.child.wait().expect("it ends");
            assert_eq!(status.code(), Some(*code), "{way}: {}", terminal.shown);
            let parser = terminal.screen();
            let screen = parser.screen();
            assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{way}");
            assert!(!screen.bracketed_paste() && !terminal.is_raw(), "{way}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_terminal_that_is_closed_ends_it() {
        let user = User::new().await;
        let mut terminal = open(&user, &[CREATE]);
        terminal.ours = File::open("/dev/null").expect("a file");
        let status = terminal.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(129));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_size_may_change() {
        let user = User::new().await;
        let mut terminal = open(&user, &[CREATE]);
        for (columns, rows, shown) in [(30, 8, "Too small"), (120, 40, "1 Waiting (1)")] {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&terminal.ours, size).expect("a size");
            terminal.signal("WINCH");
            terminal.read_screen(shown);
        }
        quit(terminal);
    }

    #[test]
    fn without_colours_there_are_none() {
        let home = temporary();
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
        let variables = [("TERM", "xterm"), ("HOME", home.path().to_str().expect("UTF-8"))];
        command.arg("inbox").env_clear().envs(variables);
        let mut terminal = Terminal::start(command, Screen { columns: 80, colours: false });
        terminal.read_screen("Nothing is waiting.");
        let parser = terminal.screen();
        let screen = parser.screen();
        for (row, column) in (0..50).flat_map(|row| (0..80).map(move |column| (row, column))) {
            let cell = screen.cell(row, column).expect("a cell");
            assert_eq!(cell.fgcolor(), vt100::Color::Default);
            assert_eq!(cell.bgcolor(), vt100::Color::Default);
        }
        quit(terminal);
    }

    impl Terminal {
        /// Returns what is on the screen.
        fn screen(&self) -> vt100::Parser {
            let size = tcgetwinsize(&self.ours).expect("a size");
            let length = |length: u16| length.try_into().expect("a size");
            let mut parser = vt100::Parser::new(length(size.ws_row), length(size.ws_col), 0);
            parser.process(&self.bytes);
            parser
        }

        /// Reads until this is on the screen.
        fn read_screen(&mut self, text: &str) {
            let mut buffer = [0; 4096];
            loop {
                let shown = self.screen().screen().contents();
                if shown.contains(text) {
                    return;
                }
                let read = self.ours.read(&mut buffer).unwrap_or(0);
                assert!(read > 0, "`{text}` was not shown, but: {shown}");
                self.bytes.extend_from_slice(&buffer[..read]);
            }
        }

        /// Sends a signal to the program.
        fn signal(&self, name: &str) {
            let sent =
                Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
            assert!(sent.expect("kill runs").success());
        }

        fn is_raw(&self) -> bool {
            let modes = tcgetattr(&self.ours).expect("settings").local_modes;
            !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
        }
    }
}
