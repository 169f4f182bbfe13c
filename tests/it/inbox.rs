//! The inbox as a page, without a browser: who gets in, what changes anything, and what is shown.

use crate::cli::ran;
use crate::wire::daily;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use whereby::inbox::{Inbox, Listening};
use whereby::{ApprovalState, Store};
use whereby_tests::World;

/// A person's browser without cookies of its own, which sends what it is told.
pub(crate) struct Browser {
    pub(crate) listening: Listening,
    cookie: Option<String>,
}

async fn listen(world: &World) -> Listening {
    let inbox = Inbox::new(world.store(), world.environment(), None);
    inbox.listen(([127, 0, 0, 1], 0).into()).await.expect("it listens")
}

pub(crate) fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.tls_backend_preconfigured(crate::mcp::http::no_tls()).build().expect("a client")
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}: {response:?}"));
    value.to_str().expect("text")
}

impl Browser {
    /// A browser of a person who is not signed in.
    async fn outside(world: &World) -> Self {
        Self { listening: listen(world).await, cookie: None }
    }

    /// A browser of a person who is signed in.
    pub(crate) async fn of(world: &World) -> Self {
        let mut browser = Self::outside(world).await;
        browser.sign_in().await;
        browser
    }

    async fn sign_in(&mut self) {
        let link = self.listening.link().expect("a link").url;
        let response = http().get(&link).send().await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "refresh"), "0; url=/");
        let cookie = header(&response, "set-cookie");
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        // Without `Domain`, the cookie is for this host alone.
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
        assert!(pair.starts_with(&format!("whereby-inbox-{}=", self.port())), "{pair}");
        self.cookie = Some(pair.to_owned());
    }

    pub(crate) fn host(&self) -> String {
        self.listening.url().trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    pub(crate) fn port(&self) -> String {
        self.host().rsplit(':').next().expect("a port").to_owned()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = http().request(method, self.listening.url() + path.trim_start_matches('/'));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("a response")
    }

    /// The page at a path.
    pub(crate) async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.expect("a page")
    }

    /// The token of the forms of this session.
    async fn csrf(&self) -> String {
        let page = self.page("/").await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Sends a form as a page of the inbox does.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let csrf = self.csrf().await;
        let mut fields = fields.to_vec();
        fields.push(("csrf", &csrf));
        self.send_bare(path, &fields, &[]).await
    }

    /// Sends a form without the token, with headers that replace these.
    async fn send_bare(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Response {
        let origin = format!("http://{}", self.host());
        let own = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", &*origin),
            ("sec-fetch-site", "same-origin"),
        ];
        let mut all = HeaderMap::new();
        for (name, value) in own.iter().chain(headers) {
            let name: HeaderName = name.parse().expect("a name");
            match *value {
                "" => drop(all.remove(name)),
                value => drop(all.insert(name, value.parse().expect("a value"))),
            }
        }
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.request(Method::POST, path).headers(all).body(body).send().await.expect("a response")
    }

    pub(crate) async fn decide(&self, id: &str, decision: &str, seen: &str) -> Response {
        let path = format!("/approvals/{id}/decision");
        self.send(&path, &[("decision", decision), ("seen", seen)]).await
    }
}

/// Makes a call that waits for approval, and returns the approval's id.
pub(crate) async fn ask(world: &World, function: &str, arguments: Value) -> String {
    world.call(function, arguments).await.approval.expect("a stored approval")
}

pub(crate) fn state(store: &Store, id: &str) -> ApprovalState {
    store.approval(id).expect("readable").expect("an approval").state
}

/// The addresses of every form.
fn changes(id: &str) -> Vec<String> {
    let of_approval = ["decision", "passkey"].map(|form| format!("/approvals/{id}/{form}"));
    let others = [
        &*format!("/standing/{id}/revoke"),
        "/passkeys",
        "/passkeys/begin",
        "/passkeys/remove",
        "/freeze",
        "/unfreeze",
        "/sign-out",
    ];
    of_approval.into_iter().chain(others.map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_link_works_once_within_ten_minutes() {
    let world = World::new().await;
    let mut browser = Browser::outside(&world).await;
    let outside = browser.get("/").await;
    assert_eq!(outside.status(), StatusCode::UNAUTHORIZED);
    let page = outside.text().await.expect("a page");
    assert!(page.contains("You are not signed in") && page.contains("press Enter"), "{page}");

    let link = browser.listening.link().expect("a link").url;
    let open = async |link: &str| {
        let response = http().get(link).send().await.expect("a response");
        let has_cookie = response.headers().contains_key("set-cookie");
        (response.status(), has_cookie, response.text().await.expect("a page"))
    };
    // Looking at the link does not use it.
    let head = http().head(&link).send().await.expect("a response");
    assert_eq!(head.status(), StatusCode::NO_CONTENT);
    let preview = http().get(&link).header("sec-purpose", "prefetch").send().await;
    assert_eq!(preview.expect("a response").status(), StatusCode::NO_CONTENT);
    let (status, has_cookie, page) = open(&link).await;
    assert_eq!((status, has_cookie), (StatusCode::OK, true), "{page}");
    let (status, has_cookie, page) = open(&link).await;
    assert_eq!((status, has_cookie), (StatusCode::FORBIDDEN, false));
    assert!(page.contains("This link no longer works") && page.contains("press Enter"), "{page}");

    let late = browser.listening.link().expect("a link").url;
    world.move_clock(10 * 60);
    let (status, has_cookie, page) = open(&late).await;
    assert_eq!((status, has_cookie), (StatusCode::FORBIDDEN, false));
    assert!(page.contains("This link no longer works"), "{page}");

    let fresh = browser.listening.link().expect("a link").url;
    for wrong in [
        fresh.to_uppercase().replacen("HTTP://", "http://", 1).replacen("/ENTER/", "/enter/", 1),
        fresh[..fresh.len() - 1].to_owned(),
        fresh.clone() + "A",
        format!("{}enter/{}", browser.listening.url(), "A".repeat(43)),
    ] {
        let (status, has_cookie, page) = open(&wrong).await;
        assert_eq!((status, has_cookie), (StatusCode::FORBIDDEN, false), "{wrong}");
        assert!(page.contains("This link is not valid"), "{page}");
    }
    assert_eq!(open(&fresh).await.0, StatusCode::OK);

    browser.sign_in().await;
    assert!(browser.page("/").await.contains("Nothing is waiting"));
    // A session does not last for ever.
    world.move_clock(12 * 60 * 60);
    assert_eq!(browser.get("/").await.status(), StatusCode::UNAUTHORIZED);
    world.assert_untouched();
}

#[tokio::test]
async fn every_page_and_every_change_needs_the_session() {
    let world = World::with_rooms(vec![daily()]).await;
    let id = ask(&world, "delete_room", json!({"room_name": "daily"})).await;
    let mut browser = Browser::of(&world).await;
    let own = browser.cookie.clone().expect("a cookie");
    let csrf = browser.csrf().await;
    let (name, _) = own.split_once('=').expect("a pair");
    let pages = [
        "/".to_owned(),
        format!("/approvals/{id}"),
        "/log".into(),
        "/agents".into(),
        "/accounts".into(),
        "/passkeys".into(),
    ];
    let changes = changes(&id);
    let elsewhere = Browser::of(&World::new().await).await.cookie.expect("a cookie");
    let foreign = format!("{name}={}", elsewhere.split_once('=').expect("a pair").1);
    for cookie in [
        None,
        Some(format!("{name}=")),
        Some(format!("{name}={}", "A".repeat(43))),
        Some(foreign),
        Some(own.replace(name, "whereby-inbox-1")),
        Some(own.to_lowercase()),
    ] {
        browser.cookie = cookie.clone();
        for path in &pages {
            let response = browser.get(path).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{cookie:?} {path}");
            let page = response.text().await.expect("a page");
            assert!(!page.contains("daily") && !page.contains(&id), "{page}");
        }
        for path in &changes {
            let fields = [("csrf", &*csrf), ("decision", "approve"), ("seen", "pending")];
            let response = browser.send_bare(path, &fields, &[]).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{cookie:?} {path}");
        }
    }
    // Another server of this machine may have set a cookie of the same name.
    browser.cookie = Some(format!("{name}=other; theme=dark; {own}"));
    assert!(browser.page("/").await.contains("daily"));
    // Whoever signs out is out, also with a copy of the cookie.
    let left = browser.send("/sign-out", &[]).await;
    assert_eq!(left.status(), StatusCode::SEE_OTHER);
    assert!(header(&left, "set-cookie").ends_with("Max-Age=0"), "{left:?}");
    assert_eq!(browser.get("/").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(state(&world.store(), &id), ApprovalState::Pending);
    world.assert_untouched();
}

#[tokio::test]
async fn a_change_needs_the_token_of_the_sessions_forms() {
    let world = World::with_rooms(vec![daily()]).await;
    let id = ask(&world, "delete_room", json!({"room_name": "daily"})).await;
    let mut browser = Browser::of(&world).await;
    let own = browser.cookie.clone();
    browser.sign_in().await;
    let of_other = browser.csrf().await;
    browser.cookie = own;
    let csrf = browser.csrf().await;
    assert_ne!(csrf, of_other);
    let decision = format!("/approvals/{id}/decision");
    for path in &changes(&id) {
        for given in [None, Some(""), Some("wrong"), Some(&*of_other)] {
            let mut fields = vec![("decision", "approve"), ("seen", "pending")];
            fields.extend(given.map(|given| ("csrf", given)));
            let response = browser.send_bare(path, &fields, &[]).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {given:?}");
        }
    }
    // In the address, it counts for nothing.
    let path = format!("{decision}?csrf={csrf}&decision=approve&seen=pending");
    assert_eq!(browser.send_bare(&path, &[], &[]).await.status(), StatusCode::FORBIDDEN);
    // With it twice, it is unclear which one is meant.
    let twice =
        [("csrf", &*csrf), ("csrf", &*of_other), ("decision", "approve"), ("seen", "pending")];
    assert_eq!(browser.send_bare(&decision, &twice, &[]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(state(&world.store(), &id), ApprovalState::Pending);
    assert!(!world.path("state/whereby/frozen.json").exists());
    assert!(browser.page("/").await.contains("daily"), "the session goes on");
}

#[tokio::test]
async fn only_the_inboxs_own_pages_are_heard() {
    let world = World::with_rooms(vec![daily()]).await;
    let id = ask(&world, "delete_room", json!({"room_name": "daily"})).await;
    let browser = Browser::of(&world).await;
    let (host, port, csrf) = (browser.host(), browser.port(), browser.csrf().await);
    let path = format!("/approvals/{id}/decision");
    let fields = [("csrf", &*csrf), ("decision", "approve"), ("seen", "pending")];
    let (own, other) = (format!("http://{host}"), format!("127.0.0.1:{port}"));
    let secure = format!("https://{host}");
    let with_path = format!("http://{host}/");
    for headers in [
        // Another name that leads here, such as one that an attacker's name server answers.
        &[("host", "evil.example")][..],
        &[("host", "127.0.0.1")],
        &[("host", "127.0.0.1:1")],
        &[("host", &*format!("evil.example:{port}"))],
        &[("host", &*format!("127.0.0.1.evil.example:{port}"))],
        // Another site, or another server of this machine.
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", "http://127.0.0.1")],
        &[("origin", &secure)],
        &[("origin", &with_path)],
        &[("origin", &*format!("http://{other}"))],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-site"), ("origin", "")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
        // A browser says where a form comes from.
        &[("sec-fetch-site", ""), ("origin", "")],
    ] {
        let response = browser.send_bare(&path, &fields, headers).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(state(&world.store(), &id), ApprovalState::Pending, "{headers:?}");
    }
    for (headers, expected) in [
        (&[("host", "evil.example")][..], StatusCode::FORBIDDEN),
        (&[("origin", "http://127.0.0.1:1")], StatusCode::FORBIDDEN),
        (
            &[
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
            StatusCode::FORBIDDEN,
        ),
        (
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            StatusCode::FORBIDDEN,
        ),
        (&[("sec-fetch-site", "nonsense")], StatusCode::FORBIDDEN),
        (&[("sec-fetch-site", "none")], StatusCode::OK),
        (&[("sec-fetch-site", "same-origin")], StatusCode::OK),
        (&[("host", &*other)], StatusCode::OK),
        (&[], StatusCode::OK),
    ] {
        let mut request = browser.request(Method::GET, "/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("a response");
        assert_eq!(response.status(), expected, "{headers:?}");
        let is_shown = response.text().await.expect("a page").contains("daily");
        assert_eq!(is_shown, expected == StatusCode::OK, "{headers:?}");
    }
    // A person who follows a link gets the page by way of one from here, which has the cookie.
    let link = browser
        .request(Method::GET, &format!("/approvals/{id}"))
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document");
    let response = link.send().await.expect("a response");
    assert_eq!(header(&response, "refresh"), format!("0; url=/approvals/{id}"));
    assert!(!response.text().await.expect("a page").contains("daily"));
    // The form itself is good.
    let response = browser.send_bare(&path, &fields, &[("origin", &own)]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(state(&world.store(), &id), ApprovalState::Approved);
    world.assert_untouched();
}

#[tokio::test]
async fn a_decision_holds_and_a_late_one_changes_nothing() {
    let world = World::with_rooms(vec![daily()]).await;
    let browser = Browser::of(&world).await;
    let store = world.store();
    let delete = || json!({"room_name": "daily"});

    let id = ask(&world, "delete_room", delete()).await;
    let page = browser.page("/").await;
    assert!(page.contains("1 call is waiting for you"), "{page}");
    let what = page.find("Permanently deletes the room").expect("the sentence");
    let why = page.find("Why you are asked").expect("the rule");
    // What will happen comes first, and ids last.
    assert!(what < why && why < page.rfind(&id).expect("the id"), "{page}");
    let denied = browser.decide(&id, "deny", "pending").await;
    assert_eq!(header(&denied, "location"), format!("/?decided={id}"));
    assert_eq!(state(&store, &id), ApprovalState::Denied);
    let page = browser.page(&format!("/?decided={id}")).await;
    assert!(page.contains("Nothing is waiting") && page.contains("Denied."), "{page}");

    // The page was open since before, and its person approves.
    for decision in ["approve", "deny"] {
        let late = browser.decide(&id, decision, "pending").await;
        assert_eq!(late.status(), StatusCode::CONFLICT);
        let page = late.text().await.expect("a page");
        assert!(
            page.contains("too late, and changed nothing") && page.contains("was denied"),
            "{page}"
        );
    }
    assert_eq!(state(&store, &id), ApprovalState::Denied);
    assert!(store.approvals(false).expect("readable").is_empty());

    // Whoever sees the denial may overrule it.
    let overruled = browser.decide(&id, "approve", "denied").await;
    let new = header(&overruled, "location").trim_start_matches("/?decided=").to_owned();
    assert_ne!(new, id);
    assert_eq!(state(&store, &new), ApprovalState::Approved);
    world.assert_untouched();
    world.call("delete_room", delete()).await.result.expect("it is approved");
    let late = browser.decide(&new, "deny", "approved").await;
    let page = late.text().await.expect("a page");
    assert!(page.contains("The call was approved, and made"), "{page}");

    // An approval can be taken back, and one that expired cannot be given.
    let id = ask(&world, "create_room", json!({})).await;
    assert_eq!(browser.decide(&id, "approve", "pending").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.decide(&id, "deny", "approved").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(state(&store, &id), ApprovalState::Denied);
    let id = ask(&world, "create_room", json!({"room_mode": "group"})).await;
    world.move_clock(60 * 60);
    let late = browser.decide(&id, "approve", "pending").await;
    assert_eq!(late.status(), StatusCode::CONFLICT);
    assert!(late.text().await.expect("a page").contains("the request expired"));

    for (id, decision, seen, status) in [
        ("0123456789abcdef0123456789abcdef", "approve", "pending", StatusCode::NOT_FOUND),
        ("nonsense", "approve", "pending", StatusCode::NOT_FOUND),
        (&id, "perhaps", "pending", StatusCode::BAD_REQUEST),
        (&id, "approve", "", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(browser.decide(id, decision, seen).await.status(), status, "{id} {decision}");
    }
}

#[tokio::test]
async fn a_freeze_on_the_page_stops_calls_until_it_is_lifted() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[agents.assistant]\n[agents.other]\n");
    let browser = Browser::of(&world).await;
    let call = async |agent: &str| {
        let run = ["call", "list_rooms", "--agent", agent];
        world.run(&run).await.code
    };
    let fields = [("agent", "assistant"), ("reason", "<b>too many</b>\u{202e}")];
    let frozen = browser.send("/freeze", &fields).await;
    assert_eq!(header(&frozen, "location"), "/agents");
    for path in ["/", "/log", "/agents", "/accounts"] {
        let page = browser.page(path).await;
        assert!(page.contains("Frozen: the agent") && !page.contains("<b>too"), "{page}");
    }
    assert_eq!((call("assistant").await, call("other").await), (4, 0));
    browser.send("/unfreeze", &[("agent", "assistant")]).await;
    assert_eq!(call("assistant").await, 0);
    // Everything, or an account, and then what was frozen elsewhere.
    let back = browser.send("/freeze", &[("account", "work"), ("back", "accounts")]).await;
    assert_eq!(header(&back, "location"), "/accounts");
    assert_eq!(call("other").await, 4);
    assert_eq!(ran(&world, &["unfreeze"], 0).await.code, 0);
    ran(&world, &["freeze"], 0).await;
    assert!(browser.page("/").await.contains("Frozen: everything"));
    browser.send("/unfreeze", &[]).await;
    assert_eq!(call("other").await, 0);
    let refused = browser.send("/freeze", &[("agent", "../x")]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    // Where it is unknown what is frozen, the page says that everything is.
    world.write("state/whereby/frozen.json", "{");
    let page = browser.page("/accounts").await;
    assert!(page.contains("Everything is frozen.") && page.contains("is damaged"), "{page}");
}

#[tokio::test]
async fn text_from_outside_is_text_on_every_page() {
    let hostile = "<script>alert(1)</script>\"'`&\u{202e}\u{2066}\u{200b}\u{1b}[31m\u{9b}";
    let world = World::new().await;
    let session = world.session();
    let call = whereby::Call::new("delete_room", json!({"room_name": format!("/{hostile}")}))
        .asked_by(hostile, Some(hostile));
    let id = session.run(call).await.approval.expect("a stored approval");
    session.call(None, hostile, json!({hostile: hostile})).await;
    world.store().flush().expect("the log is written");
    let browser = Browser::of(&world).await;
    for path in [
        "/",
        &*format!("/approvals/{id}"),
        "/log",
        &*format!("/log?agent={hostile}&function=%3Cscript%3E"),
    ] {
        let page = browser.page(path).await;
        assert!(!page.contains("<script>alert") && !page.contains("\"'`&"), "{path}: {page}");
        for character in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{1b}', '\u{9b}'] {
            assert!(!page.contains(character), "{path} contains {character:?}");
        }
    }
    let page = browser.page("/").await;
    let shown = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;'`&amp;\\u{202e}\\u{2066}\\u{200b}\\u{1b}[31m\\u{9b}";
    assert!(page.contains(shown), "{page}");
    // A late decision and a refusal show the same.
    browser.decide(&id, "deny", "pending").await;
    let late = browser.decide(&id, "approve", "pending").await.text().await.expect("a page");
    assert!(late.contains(shown) && !late.contains("<script>alert"), "{late}");
}

#[tokio::test]
async fn every_response_forbids_what_the_page_does_not_need() {
    let world = World::new().await;
    let browser = Browser::of(&world).await;
    let outside = Browser::outside(&world).await;
    let responses = [
        browser.get("/").await,
        browser.get("/style.css").await,
        browser.get("/live.js").await,
        browser.get("/nowhere").await,
        browser
            .request(Method::GET, "/")
            .header("host", "evil.example")
            .send()
            .await
            .expect("a response"),
        browser.request(Method::PUT, "/").send().await.expect("a response"),
        browser.send("/freeze", &[("agent", "..")]).await,
        outside.get("/").await,
        outside.get("/enter/wrong").await,
        http().get(outside.listening.link().expect("a link").url).send().await.expect("a response"),
    ];
    for response in responses {
        let policy = header(&response, "content-security-policy");
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(&response, name), value, "{response:?}");
        }
        assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
        let page = response.text().await.expect("a page");
        for inline in ["style=", "onclick", "<style", "javascript:", "src=\"http", "href=\"http"] {
            assert!(!page.contains(inline), "{inline}: {page}");
        }
    }
}

#[tokio::test]
async fn methods_sizes_and_connections_are_limited() {
    let world = World::new().await;
    let browser = Browser::of(&world).await;
    for (method, path, status) in [
        (Method::POST, "/", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PUT, "/log", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/agents", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/freeze", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/sign-out", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/nowhere", StatusCode::NOT_FOUND),
        (Method::GET, "/../etc/passwd", StatusCode::NOT_FOUND),
    ] {
        let request = browser.request(method.clone(), path);
        let request = match method {
            Method::GET => request,
            _ => request.header("origin", format!("http://{}", browser.host())),
        };
        assert_eq!(request.send().await.expect("a response").status(), status, "{method} {path}");
    }
    let long = "x".repeat(16 * 1024);
    let response = browser.send("/freeze", &[("reason", &long)]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for kind in ["", "text/plain", "application/json", "multipart/form-data; boundary=x"] {
        let csrf = browser.csrf().await;
        let response =
            browser.send_bare("/freeze", &[("csrf", &csrf)], &[("content-type", kind)]).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    assert!(!world.path("state/whereby/frozen.json").exists());
    // A head that is too long is refused, and so is a request that names another host in its first line.
    for (head, status) in [
        (
            format!(
                "GET / HTTP/1.1\r\nhost: {}\r\nx: {}\r\n\r\n",
                browser.host(),
                "x".repeat(128 * 1024)
            ),
            "431",
        ),
        (format!("GET http://evil.example/ HTTP/1.1\r\nhost: {}\r\n\r\n", browser.host()), "403"),
        (format!("GET / HTTP/1.1\r\nhost: {0}\r\nhost: {0}\r\n\r\n", browser.host()), "403"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "403"),
    ] {
        let mut stream = TcpStream::connect(browser.host()).await.expect("a connection");
        // The server may stop reading before the end.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
    // Many connections that say nothing do not keep a person out.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(browser.host()).await.expect("a connection"));
    }
    assert!(browser.page("/").await.contains("Nothing is waiting"));
}

#[tokio::test]
async fn no_page_shows_a_secret() {
    let world = World::new().await;
    world.configure("[agents.assistant]\naccounts = [\"work\"]\n");
    let bucket = json!({"provider": "s3", "bucket": "b", "accessKeyId": "AKIA1", "accessKeySecret": "very-secret"});
    let fields = json!([{"recording": {"type": "cloud", "destination": bucket}},
        {"streaming": {"destination": {"url": "rtmps://live.example.com/app/stream-key-of-some-length"}}}]);
    let id = ask(&world, "create_room", json!({"fields": fields})).await;
    let token = ran(&world, &["token", "create", "--agent", "assistant"], 0).await.stdout;
    let browser = Browser::of(&world).await;
    let cookie = browser.cookie.clone().expect("a cookie");
    let (_, session) = cookie.split_once('=').expect("a pair");
    let mut secrets = BTreeMap::from([
        ("bucket", "very-secret"),
        ("stream", "stream-key-of-some-length"),
        ("token", token.trim()),
        ("session", session),
    ]);
    let keys = world.simulator.tokens();
    secrets.extend([("work", &*keys[0]), ("other", &*keys[1])]);
    for path in ["/", &*format!("/approvals/{id}"), "/log", "/agents", "/accounts", "/passkeys"] {
        let page = browser.page(path).await;
        for (name, secret) in &secrets {
            assert!(!page.contains(secret), "{path} shows the secret of {name}");
        }
    }
    // A person sees where the stream goes.
    assert!(browser.page("/").await.contains("rtmps://live.example.com"));
    // Digests are all that is stored of links and sessions, and that in memory.
    for file in crate::tidy::files(&world.path("state"), "db") {
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!bytes.windows(session.len()).any(|part| part == session.as_bytes()));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let world = World::new().await;
    let browser = Browser::of(&world).await;
    world.write("config/whereby/config.toml", "nonsense");
    for path in ["/agents", "/accounts"] {
        let page = browser.page(path).await;
        assert!(
            page.contains("The configuration cannot be read.") && page.contains("line 1"),
            "{page}"
        );
    }
    // What waits and what happened are shown all the same.
    assert!(browser.page("/").await.contains("Nothing is waiting"));
    assert!(browser.page("/log").await.contains("No call has been made yet"));
    let database = Connection::open(world.path("state/whereby/state.db")).expect("a database");
    database.execute_batch("ALTER TABLE approvals RENAME TO others").expect("another program");
    let broken = browser.get("/").await;
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let page = broken.text().await.expect("a page");
    assert!(page.contains("That did not work") && page.contains("state.db"), "{page}");
}

#[tokio::test]
async fn a_page_that_is_current_is_not_sent_again() {
    let world = World::new().await;
    let browser = Browser::of(&world).await;
    let tag = header(&browser.get("/log").await, "etag").to_owned();
    let again = async || {
        let request = browser.request(Method::GET, "/log").header("if-none-match", &tag);
        request.send().await.expect("a response").status()
    };
    assert_eq!(again().await, StatusCode::NOT_MODIFIED);
    world.call("list_rooms", json!({})).await.result.expect("rooms");
    world.store().flush().expect("the log is written");
    assert_eq!(again().await, StatusCode::OK);
}

#[tokio::test]
async fn only_a_loopback_address_is_listened_on() {
    let world = World::new().await;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let run = ["inbox", "--web", "--listen", address];
        let stderr = ran(&world, &run, 3).await.stderr;
        assert!(stderr.contains("is not a loopback address"), "{stderr}");
    }
    let stderr = ran(&world, &["inbox"], 2).await.stderr;
    assert!(stderr.contains("--web"), "{stderr}");
}

#[tokio::test]
async fn the_log_names_who_decided_and_where() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[agents.bot]\n");
    let call = whereby::Call::new("delete_room", json!({"room_name": "daily"})).agent(Some("bot"));
    let id = world.session().run(call).await.approval.expect("an approval");
    ran(&world, &["approvals", "approve", &id], 0).await;
    let browser = Browser::of(&world).await;
    browser.send("/freeze", &[("agent", "bot"), ("account", "work")]).await;
    let page = browser.page("/log").await;
    let who: Vec<&str> = page
        .split("<span class=\"who muted\"><bdi>")
        .skip(1)
        .map(|rest| rest.split("</bdi>").next().expect("a name"))
        .collect();
    assert!(who[0].ends_with(", on the page") && who[1].ends_with(", on a terminal"), "{who:?}");
    assert_eq!(who[2], "bot", "{who:?}");
    assert!(page.contains("with the account <code"), "{page}");
}

#[tokio::test]
async fn another_page_takes_over_and_a_service_comes_first() {
    let world = World::with_rooms(vec![daily()]).await;
    let (first, second) = (listen(&world).await, listen(&world).await);
    let link = async || ran(&world, &["inbox", "--link", "--json"], 0).await.json();
    let begins = async |listening: &Listening| {
        link().await["link"]["url"].as_str().expect("a link").starts_with(&listening.url())
    };
    assert!(begins(&first).await);
    first.stop().await;
    assert!(begins(&second).await);
    let call = ["call", "delete_room", "--arg", "room_name=daily"];
    let refused = ran(&world, &call, 5).await.stderr;
    assert!(refused.contains(&format!("{}approvals/", second.url())), "{refused}");
    second.stop().await;
    ran(&world, &["inbox", "--link"], 2).await;
}

#[tokio::test]
async fn who_signs_in_gets_to_the_approval_that_they_wanted_to_see() {
    let world = World::with_rooms(vec![daily()]).await;
    let id = ask(&world, "delete_room", json!({"room_name": "daily"})).await;
    let mut browser = Browser::outside(&world).await;
    let outside = browser.get(&format!("/approvals/{id}")).await;
    assert_eq!(outside.status(), StatusCode::UNAUTHORIZED);
    let wanted = header(&outside, "set-cookie").split(';').next().expect("a pair").to_owned();
    assert!(outside.text().await.expect("a page").contains("whereby inbox --link"));
    let enter = async |cookie: &str| {
        let link = browser.listening.link().expect("a link").url;
        let response = http().get(&link).header("cookie", cookie).send().await;
        header(&response.expect("a response"), "refresh").to_owned()
    };
    assert_eq!(enter(&wanted).await, format!("0; url=/approvals/{id}"));
    let (name, _) = wanted.split_once('=').expect("a pair");
    for other in ["//evil.example", "../log", "x", "", &*"a".repeat(33)] {
        assert_eq!(enter(&format!("{name}={other}")).await, "0; url=/", "{other}");
    }
    browser.sign_in().await;
    // As a person writes it.
    for short in [id[..8].to_owned(), id.to_uppercase()] {
        let page = browser.page(&format!("/approvals/{short}")).await;
        assert!(page.contains(&format!("id=\"approval-{id}\"")), "{page}");
    }
    let show = ran(&world, &["approvals", "show", &id.to_uppercase()], 0).await;
    assert!(show.stdout.contains(&id), "{show:?}");
}

#[tokio::test]
async fn a_call_of_an_account_that_is_gone_is_not_approved() {
    let world = World::with_rooms(vec![daily()]).await;
    let id = ask(&world, "delete_room", json!({"room_name": "daily"})).await;
    let browser = Browser::of(&world).await;
    for (change, gone) in [
        ("--disable", "the account `work` is switched off"),
        ("--remove", "there is no account `work` any more"),
    ] {
        ran(&world, &["configure", "--account", "work", change], 0).await;
        let refused = ran(&world, &["approvals", "approve", &id], 2).await.stderr;
        assert!(refused.contains(gone), "{refused}");
        let refused = browser.decide(&id, "approve", "pending").await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(refused.text().await.expect("a page").contains(gone));
    }
    // It can still be denied, with the name that it has.
    ran(&world, &["approvals", "deny", &id, "--account", "work"], 0).await;
}
