//! The picture in the README: what the program shows for a call that is denied, and for one that a person
//! approves. `INSTA_UPDATE=always` draws it again.

use crate::tidy::root;
use anstyle_svg::{Term, WIN10_CONSOLE};
use std::fs;
use std::time::{Duration, SystemTime};
use time::macros::datetime;
use whereby::Clock;
use whereby::simulator::{Options, OrganizationSeed, RoomSeed, Seed};
use whereby_tests::{World, run_with, set_mode};

/// As wide as fits beside the margins of a page.
const COLUMNS: u16 = 88;

/// When it all happens.
const NOW: time::OffsetDateTime = datetime!(2026-03-02 12:00 UTC);

/// Shown in place of the temporary folder, and as long, because lines break by their width.
const SHOWN_FOLDER: &str = "/home/you/.config";

#[tokio::test]
async fn the_picture_shows_what_the_program_shows() {
    let rooms = Seed::Rooms(vec![RoomSeed::named("board-meeting")]);
    let organizations = vec![OrganizationSeed::new("acme-demo", rooms)];
    let world = World::with(Options { organizations, now: Some(NOW), ..Options::default() }).await;
    let folder = tempfile::Builder::new().prefix("whereby-").rand_bytes(4).tempdir_in("/tmp");
    let folder = folder.expect("a temporary directory");
    let shown_as = folder.path().to_str().expect("UTF-8");
    assert_eq!(shown_as.len(), SHOWN_FOLDER.len());
    fs::create_dir(folder.path().join("whereby")).expect("a folder");
    let file = folder.path().join("whereby/config.toml");
    let (token, url) = (world.simulator.token(), world.simulator.url());
    let rules = format!(
        "[permissions]\nwrite = \"ask\"\n\n[permissions.functions]\ndelete_room = \"deny\"\n\n\
         [accounts.work]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n"
    );
    fs::write(&file, rules).expect("a configuration");
    set_mode(&file, 0o600);

    let mut environment = world.environment();
    environment.variables.remove("NO_COLOR");
    environment.variables.insert("XDG_CONFIG_HOME".into(), shown_as.to_owned());
    let seconds = NOW.unix_timestamp().unsigned_abs();
    environment.clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));

    let mut screen = String::new();
    for (arguments, typed, exit) in [
        (["call", "delete_room", "--arg", "room_name=board-meeting"], "", 4),
        (["call", "create_room", "--arg", "room_name_prefix=standup-"], "y\n", 0),
    ] {
        let ran = run_with(&arguments, environment.clone(), typed, |streams| {
            streams.stdin_is_terminal = true;
            streams.stdout_is_terminal = true;
            streams.stderr_is_terminal = true;
            streams.width = Some(COLUMNS);
        })
        .await;
        assert_eq!(ran.code, exit, "{ran:?}");
        // A terminal shows what is typed after the question, before the result.
        let stderr = without_status(&ran.stderr).replace("[y/N] ", &format!("[y/N] {typed}"));
        screen += &format!("$ whereby {}\n{stderr}{}", arguments.join(" "), ran.stdout);
        screen.push('\n');
    }
    // The denied call sent nothing.
    assert_eq!(world.requests().len(), 1);
    let screen = screen.replace(shown_as, SHOWN_FOLDER).replace(&url, "http://127.0.0.1:8080/v1");

    let drawn = scalable(&Term::new().palette(WIN10_CONSOLE).render_svg(screen.trim_end()));
    let path = root().join("docs/denied-and-approved.svg");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, &drawn).expect("the picture is written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, drawn, "{}: INSTA_UPDATE=always draws it again", path.display());
    assert!(!drawn.contains("eyJ"), "it shows a token");
}

/// What stays on the screen: the status of a slow command is written over.
fn without_status(text: &str) -> String {
    let mut parts = text.split("\r\u{1b}[K");
    let first = parts.next().unwrap_or_default().to_owned();
    let stays =
        parts.filter(|part| !["- ", "\\ ", "| ", "/ "].iter().any(|it| part.starts_with(it)));
    stays.fold(first, |shown, part| shown + part)
}

/// The picture with a view box, so that a narrow page shrinks it instead of cutting it off.
fn scalable(svg: &str) -> String {
    let size = |name: &str| {
        let rest = svg.split_once(&format!(" {name}=\"")).expect("a size").1;
        rest.split_once("px\"").expect("in pixels").0.to_owned()
    };
    let view = format!("<svg viewBox=\"0 0 {} {}\"", size("width"), size("height"));
    svg.replacen("<svg", &view, 1)
}
