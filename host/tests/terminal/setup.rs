//! `whereby setup`, as a person sees it.

use super::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

const SCREEN: Screen = Screen { columns: 80, colours: false };

const KEY: &str = "(not shown while you type): ";
const CHOICE: &str = "1 to 3 [2] ";
const WRITE: &str = "Write this file? [y/N] ";

const CLAUDE: &str = "{\n  \"numStartups\": 7,\n  \"mcpServers\": {\n    \"github\": {\n      \"command\": \
                      \"gh-mcp\",\n      \"env\": { \"TOKEN\": \"oth3r\" }\n    }\n  },\n  \"projects\": \
                      {}\n}\n";

const CODE: &str = "{\r\n\t// mine: oth3r\r\n\t\"servers\": {\r\n\t\t\"a\": { \"url\": \
                    \"https://oth3r\" }, // b\r\n\t},\r\n}";

const CODEX: &str = "model = \"oth3r\" # mine\n\n[mcp_servers.github]\ncommand = \"gh-mcp\"\n";

const DESKTOP: &str = "{\"globalShortcut\": \"oth3r\"}";

/// The files of the clients of this user, each with what it has at first.
const CLIENTS: [(&str, Option<&str>); 5] = [
    (".claude.json", Some(CLAUDE)),
    (".config/Claude/claude_desktop_config.json", Some(DESKTOP)),
    (".cursor/mcp.json", None),
    (".config/Code/User/mcp.json", Some(CODE)),
    (".codex/config.toml", Some(CODEX)),
];

/// A user who has nothing yet but clients.
async fn newcomer(clients: &[(&str, Option<&str>)]) -> User {
    let user = User { home: temporary(), ..User::new().await };
    for (path, contents) in clients {
        let path = user.home.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        if let Some(contents) = contents {
            fs::write(path, contents).expect("a file");
        }
    }
    user
}

impl User {
    fn api_url(&self) -> String {
        format!("--api-url={}", self.simulator.url())
    }

    fn config(&self) -> PathBuf {
        self.home.path().join(".config/whereby/config.toml")
    }

    /// What setup shows a user who answers each question in turn, and its exit status.
    fn set_up(&self, arguments: &[&str], answers: &[(&str, &str)]) -> (String, Option<i32>) {
        let arguments = [&["setup"], arguments].concat();
        let mut terminal = Terminal::start(self.command(&arguments), SCREEN);
        for (question, answer) in answers {
            terminal.read_until(question);
            terminal.write(answer);
        }
        terminal.read_until("");
        let status = terminal.child.wait().expect("it ends").code();
        let shown = without_status(&terminal.shown.replace("\r\n", "\n"));
        assert!(!shown.contains(self.simulator.token()), "the key is shown: {shown}");
        assert!(!shown.contains("oth3r"), "a value of another program is shown: {shown}");
        (
            self.still(&shown, false).replace(env!("CARGO_BIN_EXE_whereby"), "/usr/bin/whereby"),
            status,
        )
    }

    /// The files of this user besides the state of this program.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.ends_with(".local") {
                    continue;
                }
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(path.clone(), fs::read(path).expect("a file"))),
                }
            }
        }
        files
    }

    /// The files that have this text, of everything that this user has.
    fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().to_owned(), CACHE.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if has(&fs::read(&path).expect("a file")) => found.push(path),
                    false => {}
                }
            }
        }
        found
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_leads_from_the_key_to_the_first_call() {
    let user = newcomer(&CLIENTS).await;
    let key = format!("{}\n", user.simulator.token());
    let (first, status) = user.set_up(
        &[&user.api_url()],
        &[
            (KEY, "wrong.key.here\n"),
            (KEY, &key),
            (WRITE, "y\n"),
            (CHOICE, "\n"),
            (WRITE, "y\n"),
            ("Add whereby to Claude Code? [y/N] ", "y\n"),
            ("Add whereby to Claude Desktop? [y/N] ", "y\n"),
            ("Add whereby to Cursor? [y/N] ", "y\n"),
            ("Add whereby to VS Code? [y/N] ", "y\n"),
            ("Add whereby to Codex? [y/N] ", "y\n"),
        ],
    );
    assert_eq!(status, Some(0), "{first}");
    let program = env!("CARGO_BIN_EXE_whereby");
    let command = format!("\"command\": \"{program}\"");
    let read = |path: &str| fs::read_to_string(user.home.path().join(path)).expect("a file");
    let indented = format!("{{\n      {command},\n      \"args\": [\"mcp\"]\n    }}");
    assert_eq!(
        read(".claude.json"),
        CLAUDE.replace("    }\n  },", &format!("    }},\n    \"whereby\": {indented}\n  }},"))
    );
    assert_eq!(
        read(".cursor/mcp.json"),
        format!("{{\n  \"mcpServers\": {{\n    \"whereby\": {indented}\n  }}\n}}\n")
    );
    assert_eq!(
        read(".config/Claude/claude_desktop_config.json"),
        DESKTOP.replace(
            '}',
            &format!(", \"mcpServers\": {{ \"whereby\": {{ {command}, \"args\": [\"mcp\"] }} }}}}")
        )
    );
    let typed = format!(
        "\r\n\t\t\"whereby\": {{\r\n\t\t\t\"type\": \"stdio\",\r\n\t\t\t{command},\r\n\t\t\t\"args\": \
         [\"mcp\"]\r\n\t\t}},"
    );
    assert_eq!(read(".config/Code/User/mcp.json"), CODE.replace("// b", &format!("// b{typed}")));
    let table = format!("\n[mcp_servers.whereby]\ncommand = \"{program}\"\nargs = [\"mcp\"]\n");
    assert_eq!(read(".codex/config.toml"), CODEX.to_owned() + &table);
    assert_eq!(user.files_with(user.simulator.token()), [user.config()], "where the key is");
    let mode = user.config().metadata().expect("a configuration").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The wrong key was tried, and so was the right one; then came the call.
    let paths: Vec<String> =
        user.simulator.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    let audit = user.document(&["audit", "--limit", "10"]);
    assert!(audit.to_string().contains("list_rooms"), "{audit}");

    let before = user.files();
    let (again, status) = user.set_up(&[], &[]);
    assert_eq!(status, Some(0), "{again}");
    assert_eq!(user.files(), before, "the second run changed something");
    insta::assert_snapshot!("setup", format!("$ whereby setup\n{first}\n$ whereby setup\n{again}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_leaves_each_file_as_it_is() {
    let user = newcomer(&CLIENTS).await;
    let before = user.files();
    let key = format!("{}\n", user.simulator.token());
    let (shown, status) = user.set_up(&[&user.api_url()], &[(KEY, &key), (WRITE, "n\n")]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("the key is not stored") && !shown.contains("Next:"), "{shown}");
    assert_eq!(user.files(), before);
    assert_eq!(user.files_with(user.simulator.token()), [] as [PathBuf; 0]);
    let (shown, status) = user.set_up(
        &[&user.api_url()],
        &[
            (KEY, &key),
            (WRITE, "y\n"),
            (CHOICE, "1\n"),
            (WRITE, "\n"),
            ("Claude Code? [y/N] ", "no\n"),
            ("Claude Desktop? [y/N] ", "\n"),
            ("Cursor? [y/N] ", "\n"),
            ("VS Code? [y/N] ", "n\n"),
            ("Codex? [y/N] ", "N\n"),
        ],
    );
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("Next:") && !shown.contains("Restart your MCP client"), "{shown}");
    let mut after = user.files();
    let config = String::from_utf8(after.remove(&user.config()).expect("a file")).expect("UTF-8");
    assert!(!config.contains("permissions"), "{config}");
    after.retain(|path, _| !path.ends_with("config.toml.lock"));
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_does_not_work_is_not_stored() {
    let user = newcomer(&[]).await;
    for (typed, words) in [
        ("wrong.key.here\n", "This key cannot be used"),
        ("\n", "Nothing was typed"),
        ("two words\n", "This is not a key"),
        ("\u{1b}[31mkey\n", "This is not a key"),
    ] {
        let answers = [(KEY, typed), (KEY, typed), (KEY, typed)];
        let (shown, status) = user.set_up(&[&user.api_url()], &answers);
        assert_eq!(status, Some(2), "{shown}");
        assert!(shown.contains(words) && shown.contains("none of the keys works"), "{shown}");
        assert!(!shown.contains("key.here") && !shown.contains('\u{1b}'), "{shown}");
        assert!(user.files().is_empty());
    }
    // Nothing answers at this address.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("--api-url=http://{}/v1", free.local_addr().expect("its address"));
    drop(free);
    let keep = "Keep it without a check? [y/N] ";
    let (shown, status) = user.set_up(&[&url], &[(KEY, "a.b.c\n"), (keep, "\n")]);
    assert_ne!(status, Some(0), "{shown}");
    assert!(user.files().is_empty());
    let answers = [(KEY, "a.b.c\n"), (keep, "y\n"), (WRITE, "y\n"), (CHOICE, "\u{4}")];
    let (shown, status) = user.set_up(&[&url], &answers);
    assert_eq!(status, Some(130), "{shown}");
    assert!(shown.contains("Done so far: the key is in the configuration file."), "{shown}");
    assert_eq!(user.files_with("a.b.c"), [user.config()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_stopped_working_is_replaced_where_it_is() {
    let user = newcomer(&[]).await;
    let url = user.simulator.url();
    let config = |key: &str| {
        format!(
            "# mine\n[accounts]\nwork = {{ access_token = \"{key}\", api_url = \"{url}\" }} # one\n"
        )
    };
    fs::create_dir_all(user.config().parent().expect("a folder")).expect("a folder");
    fs::write(user.config(), config("oth3r.old.key")).expect("a file");
    fs::set_permissions(user.config(), fs::Permissions::from_mode(0o600)).expect("a mode");
    let key = format!("{}\n", user.simulator.token());
    let (shown, status) =
        user.set_up(&[], &[(KEY, &key), (WRITE, "y\n"), (CHOICE, "3\n"), (WRITE, "y\n")]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("The key of the account `work` cannot be used"), "{shown}");
    let rules = "\n[permissions]\nread = \"allow\"\nwrite = \"ask\"\ndestination = \"ask\"\n\n\
                 [permissions.functions]\ncreate_room = \"allow\"\n";
    let after = fs::read_to_string(user.config()).expect("a file");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&after), words(&(config(user.simulator.token()) + rules)));
    let (shown, status) = user.set_up(&[], &[]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("Already set: look and create rooms"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_leaves_nothing_half_done_and_says_what_is_done() {
    let user = newcomer(&CLIENTS).await;
    let key = format!("{}\n", user.simulator.token());
    let (shown, status) = user.set_up(&[&user.api_url()], &[(KEY, "half a key\u{3}")]);
    assert_eq!(status, Some(130), "{shown}");
    assert!(
        shown.contains("Nothing was changed. To go on, run:\nwhereby setup --api-url"),
        "{shown}"
    );
    assert!(!shown.contains("error:"), "{shown}");
    // The terminal is not the program's own, so that Ctrl-C is only a signal where nothing is hidden.
    let mut terminal = Terminal::start(user.command(&["setup", &user.api_url()]), SCREEN);
    for (question, answer) in [(KEY, &*key), (WRITE, "y\n"), (CHOICE, "2\n"), (WRITE, "")] {
        terminal.read_until(question);
        terminal.write(answer);
    }
    let id = terminal.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(sent.expect("kill runs").success());
    terminal.read_until("Done so far: the key is in the configuration file.");
    assert_eq!(terminal.child.wait().expect("it ends").code(), Some(130));
    assert!(!fs::read_to_string(user.config()).expect("a file").contains("permissions"));
    for (path, contents) in CLIENTS {
        let now = fs::read_to_string(user.home.path().join(path)).ok();
        assert_eq!(now.as_deref(), contents, "{path}");
    }
    // The next run goes on where this one stopped.
    let (shown, _) = user.set_up(&[], &[(CHOICE, "\u{4}")]);
    assert!(shown.contains("has a key that works"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_during_the_question_is_shown_again() {
    let user = newcomer(&[(".cursor/mcp.json", Some("{}\n"))]).await;
    let url = user.api_url();
    let mut terminal = Terminal::start(user.command(&["setup", &url]), SCREEN);
    let mut answer = |question: &str, answer: &str| {
        terminal.read_until(question);
        terminal.write(answer);
    };
    answer(KEY, &format!("{}\n", user.simulator.token()));
    answer(WRITE, "y\n");
    terminal.read_until(CHOICE);
    terminal.write("2\n");
    terminal.read_until(WRITE);
    let config = fs::read_to_string(user.config()).expect("a file");
    fs::write(user.config(), format!("# new\n{config}")).expect("a file");
    terminal.write("y\n");
    terminal.read_until("The file has changed in the meantime");
    terminal.read_until(WRITE);
    terminal.write("y\n");
    terminal.read_until("Add whereby to Cursor? [y/N] ");
    let file = user.home.path().join(".cursor/mcp.json");
    fs::write(&file, "{ \"a\": 1 }\n").expect("a file");
    terminal.write("y\n");
    terminal.read_until("The file has changed in the meantime");
    terminal.read_until("Add whereby to Cursor? [y/N] ");
    terminal.write("y\n");
    terminal.read_until("");
    assert!(terminal.child.wait().expect("it ends").success(), "{}", terminal.shown);
    let config = fs::read_to_string(user.config()).expect("a file");
    assert!(config.starts_with("# new\n") && config.contains("write = \"ask\""), "{config}");
    let cursor = fs::read_to_string(file).expect("a file");
    assert!(cursor.starts_with("{ \"a\": 1, \"mcpServers\": { \"whereby\""), "{cursor}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_there_is_changed_and_keeps_its_arguments() {
    let entry = |command: &str| {
        format!(
            "{{\"mcpServers\": {{\"whereby\": {{\"command\": \"{command}\", \"args\": [\"mcp\", \"--agent\", \
             \"desk\"]}}}}}}\n"
        )
    };
    let over_http = "{\"mcpServers\": {\"whereby\": {\"url\": \"http://127.0.0.1:8090/mcp\"}}}\n";
    let user = newcomer(&[
        (".config/Claude/claude_desktop_config.json", Some(over_http)),
        (".cursor/mcp.json", Some(&entry("/gone/whereby"))),
    ])
    .await;
    let key = format!("{}\n", user.simulator.token());
    let (shown, status) = user.set_up(
        &[&user.api_url()],
        &[
            (KEY, &key),
            (WRITE, "y\n"),
            (CHOICE, "2\n"),
            (WRITE, "y\n"),
            ("Change the entry `whereby` of Cursor? [y/N] ", "y\n"),
        ],
    );
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("Claude Desktop: has whereby already."), "{shown}");
    let read = |path: &str| fs::read_to_string(user.home.path().join(path)).expect("a file");
    assert_eq!(read(".config/Claude/claude_desktop_config.json"), over_http);
    assert_eq!(read(".cursor/mcp.json"), entry(env!("CARGO_BIN_EXE_whereby")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_others_can_replace_is_added_to_no_client() {
    let user = newcomer(&[(".cursor/mcp.json", Some("{}\n"))]).await;
    let project = user.home.path().join("project");
    fs::create_dir_all(project.join(".git")).expect("a folder");
    let program = project.join("whereby");
    // Another process writes it: a program that is open for writing anywhere here cannot be started.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_whereby")).arg(&program).status();
    assert!(copied.expect("cp runs").success());
    let mut command = Command::new(&program);
    let usual = user.command(&["setup", &user.api_url()]);
    command.args(usual.get_args()).current_dir(&project).env_clear();
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = Terminal::start(command, SCREEN);
    let key = format!("{}\n", user.simulator.token());
    for (question, answer) in [(KEY, &*key), (WRITE, "y\n"), (CHOICE, "2\n"), (WRITE, "y\n")] {
        terminal.read_until(question);
        terminal.write(answer);
    }
    terminal.read_until("");
    assert!(terminal.child.wait().expect("it ends").success(), "{}", terminal.shown);
    let shown = terminal.shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in
        ["is in the current project", "npm install --global whereby-agent", "It works: list_rooms"]
    {
        assert!(shown.contains(words), "`{words}` is missing: {shown}");
    }
    let cursor = fs::read_to_string(user.home.path().join(".cursor/mcp.json")).expect("a file");
    assert_eq!(cursor, "{}\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_setup_says_what_to_use() {
    let user = newcomer(&CLIENTS).await;
    let before = user.files();
    let output = user.command(&["setup"]).stdin(std::process::Stdio::null()).output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    let (ci, json) = (user.command(&["setup"]), user.command(&["setup", "--json"]));
    let mut runs = vec![("must each be one", told)];
    for (why, mut command) in [("CI job", ci), ("prints no JSON", json)] {
        if why == "CI job" {
            command.env("CI", "true");
        }
        let mut terminal = Terminal::start(command, SCREEN);
        terminal.read_until("");
        assert_eq!(terminal.child.wait().expect("it ends").code(), Some(2), "{}", terminal.shown);
        runs.push((why, terminal.shown.clone()));
    }
    for (why, told) in runs {
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in
            [why, "whereby configure --token-stdin", "--read allow --write ask", "whereby mcp"]
        {
            assert!(told.contains(words), "`{words}` is missing: {told}");
        }
    }
    assert_eq!(user.files(), before);
}
