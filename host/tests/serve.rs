//! `whereby serve` as a service manager runs it, and which links let a browser in.

#![cfg(all(unix, feature = "simulator", feature = "inbox", feature = "mcp"))]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A user with an account and a token for MCP clients.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let account = "[accounts.work]\naccess_token = \"k\"\napi_url = \"http://127.0.0.1:9\"\n";
    for (name, text) in [("config.toml", account), ("token", &*"t".repeat(40))] {
        let file = home.path().join(name);
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    home
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
    command.args(["--config", "config.toml"]).args(arguments).current_dir(home).env_clear();
    command.env("HOME", home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ran(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().expect("the program runs")
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A program that serves, until this is dropped.
struct Served {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Served {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut child = command(home, arguments).spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }

    /// Ends it as a service manager does. Returns its exit status and standard error.
    fn ended(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let mut stderr = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
        (status.code(), stderr)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a link over one of the addresses of `localhost`. Returns the first line of the response.
fn open(link: &str, address: SocketAddr) -> String {
    let (host, path) = link.trim_start_matches("http://").split_once('/').expect("a path");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response.lines().next().expect("a line").to_owned()
}

fn port(url: &str) -> u16 {
    let authority = url.trim_start_matches("http://").split('/').next().expect("a host");
    authority.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn clients_and_the_page_are_served_until_a_signal() {
    let home = home();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
    // For people.
    let mut served = Served::start(home.path(), &serve);
    let (mcp, inbox) = (served.line(), served.line());
    assert!(mcp.starts_with("MCP at http://127.0.0.1:"), "{mcp}");
    assert!(inbox.starts_with("Inbox at http://localhost:"), "{inbox}");
    assert_eq!(served.line(), "Both are served until Ctrl-C.");
    assert_eq!(served.line(), "");
    assert!(served.line().starts_with("Open this link to sign in."));
    assert!(served.line().contains("/enter/"));
    assert_eq!(served.ended(), (Some(0), String::new()));

    // For programs.
    let mut served = Served::start(home.path(), &[&serve[..], &["--json"]].concat());
    let started: Value = serde_json::from_str(&served.line()).expect("JSON");
    let mcp = started["mcp"]["url"].as_str().expect("a URL");
    assert!(mcp.starts_with("http://127.0.0.1:"), "{started}");
    assert!(open(mcp, SocketAddr::from((Ipv4Addr::LOCALHOST, port(mcp)))).contains(" 401 "));
    let inbox = started["inbox"]["url"].as_str().expect("a URL").to_owned();
    let link = started["inbox"]["link"]["url"].as_str().expect("a link").to_owned();
    assert!(link.starts_with(&inbox) && inbox.starts_with("http://localhost:"), "{started}");
    // It has both addresses that a browser may take for localhost.
    let page = SocketAddr::from((Ipv4Addr::LOCALHOST, port(&inbox)));
    if has_ipv6() {
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port(&inbox)));
        assert!(open(&inbox, six).contains(" 401 "));
        assert!(open(&link, six).contains(" 200 "));
    } else {
        assert!(open(&link, page).contains(" 200 "));
    }
    assert!(open(&link, page).contains(" 403 "), "it works once");
    // Another terminal prints another link.
    let other = json(&ran(home.path(), &["inbox", "--link", "--json"]));
    let other = other["link"]["url"].as_str().expect("a link");
    assert!(other.starts_with(&inbox) && other != link);
    assert!(open(other, page).contains(" 200 "));
    // Of another state directory.
    let elsewhere = self::home();
    let mut foreign = Served::start(elsewhere.path(), &["inbox", "--web", "--json"]);
    let foreign: Value = serde_json::from_str(&foreign.line()).expect("JSON");
    let code = foreign["inbox"]["link"]["url"].as_str().and_then(|url| url.rsplit('/').next());
    let link = format!("{inbox}enter/{}", code.expect("a code"));
    assert!(open(&link, page).contains(" 403 "));
    assert_eq!(served.ended(), (Some(0), String::new()));
    // Now, there is none.
    let none = ran(home.path(), &["inbox", "--link"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no inbox is served now"), "{none:?}");
}

#[test]
fn another_user_gets_into_a_service_with_a_link_and_into_no_inbox_of_a_person() {
    // Only root can be another user.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = home();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token", "--json"];
    for (arguments, expected) in [(&serve[..], "200"), (&["inbox", "--web", "--json"], "403")] {
        let mut served = Served::start(home.path(), arguments);
        let started: Value = serde_json::from_str(&served.line()).expect("JSON");
        let link = started["inbox"]["link"]["url"].as_str().expect("a link");
        let (host, path) = link.trim_start_matches("http://").split_once('/').expect("a path");
        let port = port(link);
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}
             printf 'GET /{path} HTTP/1.1\\r\\nhost: {host}\\r\\nconnection: close\\r\\n\\r\\n' >&3
             read -r line <&3; echo \"$line\""
        );
        let opened = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &script])
            .current_dir("/")
            .output()
            .expect("setpriv runs");
        let line = String::from_utf8_lossy(&opened.stdout).into_owned();
        assert!(line.contains(expected), "{arguments:?}: {opened:?}");
    }
}

#[test]
fn a_port_of_which_another_program_has_one_address_is_refused() {
    if !has_ipv6() {
        return;
    }
    let home = home();
    for (taken, wanted) in [("[::1]", "127.0.0.1"), ("127.0.0.1", "[::1]")] {
        let other = TcpListener::bind(format!("{taken}:0")).expect("a port");
        let port = other.local_addr().expect("an address").port();
        let address = format!("{wanted}:{port}");
        let refused = ran(home.path(), &["inbox", "--web", "--listen", &address]);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(
            stderr.contains(&format!("another program listens on {taken}:{port}"))
                && stderr.contains("choose another port"),
            "{stderr}"
        );
    }
}

#[test]
fn wrong_options_are_said() {
    let home = home();
    let at = |rest: &[&'static str]| {
        [&["serve", "--listen", "127.0.0.1:0", "--token-file", "token"], rest].concat()
    };
    for (arguments, code, told) in [
        (vec!["serve"], 2, "--listen"),
        (vec!["serve", "--listen", "127.0.0.1:0"], 3, "HTTP clients need a bearer token"),
        (vec!["serve", "--listen", "0.0.0.0:0", "--token-file", "token"], 3, "loopback"),
        (at(&["--inbox", "0.0.0.0:0"]), 3, "is not a loopback address"),
        (at(&["--inbox", "192.0.2.1:0"]), 3, "is not a loopback address"),
        (at(&["--inbox", "127.0.0.2:0"]), 3, "127.0.0.1"),
        (at(&["--inbox", "localhost"]), 2, "--inbox"),
        (at(&["--capability-tokens"]), 2, "--token-file"),
        (at(&["--web"]), 2, "--web"),
        (vec!["inbox", "--link", "--listen", "127.0.0.1:0"], 2, "--listen"),
        (vec!["inbox", "--link", "--web"], 2, "--link"),
        (vec!["inbox", "--add-passkey", "--link"], 2, "--add-passkey"),
        (vec!["inbox", "--link", "--open"], 2, "--open"),
    ] {
        let refused = ran(home.path(), &arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {refused:?}");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(stderr.contains(told) && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_agent_that_does_not_exist_is_not_served() {
    let home = home();
    let agent = "\n[agents.bot]\n";
    let file = home.path().join("config.toml");
    let text = std::fs::read_to_string(&file).expect("a file") + agent;
    std::fs::write(&file, text).expect("written");
    for command in [
        &["mcp", "--agent", "bott"][..],
        &["mcp", "--listen", "127.0.0.1:0", "--token-file", "token", "--agent", "bott"],
        &["serve", "--listen", "127.0.0.1:0", "--token-file", "token", "--agent", "bott"],
    ] {
        let refused = ran(home.path(), command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(4), "{said}");
        assert!(said.contains("no agent is called `bott` (did you mean `bot`?)"), "{said}");
    }
    // A bearer token is none of the calls' own.
    let refused = ran(home.path(), &["mcp", "--token-file", "token"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("add --listen") && !said.contains("do not try"), "{said}");
}

#[test]
fn the_page_of_a_service_says_how_to_get_a_link() {
    let home = home();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token", "--json"];
    // Its page is found although another one was served before.
    let mut other = Served::start(home.path(), &["inbox", "--web", "--json"]);
    other.line();
    let mut served = Served::start(home.path(), &arguments);
    let started: Value = serde_json::from_str(&served.line()).expect("JSON");
    let url = started["inbox"]["url"].as_str().expect("a URL");
    let link = json(&ran(home.path(), &["inbox", "--link", "--json"]));
    assert!(link["link"]["url"].as_str().expect("a link").starts_with(url), "{link} {url}");
    let mut stream =
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port(url)))).expect("it listens");
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    assert!(page.contains("whereby inbox --link") && !page.contains("press Enter"), "{page}");
}
