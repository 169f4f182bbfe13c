//! Whose fault a failure is, and what to change: the same in each front end.
//!
//! A new cause is one row of [`rows`]. What only a process of its own can run into, such as a limit of
//! the system, is in the host's own tests.

use crate::network_tls::server::{Authority, Proxy, Server};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use std::any::Any;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};
use whereby::mcp::Server as McpServer;
use whereby::simulator::{Options, Reply, Simulator};
use whereby::{Environment, Session, Settings};
use whereby_tests::{World, run, set_mode};

/// A year in which everything here is still in force.
const LATER: i32 = 2999;

/// What is wrong, as the program finds it.
#[derive(Default)]
struct Trouble {
    /// The account's API, where it is not the simulator.
    url: Option<String>,
    /// What is trusted besides the built-in authorities, in PEM.
    ca: Option<String>,
    /// The account's token as the configuration has it, where it is not the simulator's.
    token: Option<String>,
    variables: Vec<(&'static str, String)>,
    /// How the simulator answers, every time.
    reply: Option<Reply>,
    /// Servers, for as long as the row is tried.
    #[expect(dead_code, reason = "they end when they are dropped")]
    servers: Vec<Box<dyn Any>>,
}

/// A cause, and what everybody is told of it.
struct Row {
    name: &'static str,
    trouble: Trouble,
    kind: &'static str,
    /// What the message contains.
    message: &'static [&'static str],
    /// What the hint contains.
    hint: &'static [&'static str],
    retryable: bool,
    exit: u8,
    /// How many requests were begun, as `-v` shows them.
    tries: u64,
}

/// Rows for a server with this certificate, trusting the authority where there is one.
async fn tls(config: std::sync::Arc<rustls::ServerConfig>, trusted: Option<&Authority>) -> Trouble {
    let server = Server::start(config).await;
    Trouble {
        url: Some(server.url()),
        ca: trusted.map(Authority::pem),
        servers: vec![Box::new(server)],
        ..Trouble::default()
    }
}

/// A host behind a proxy, of which nothing else knows where it is.
fn behind(proxy: &str, servers: Vec<Box<dyn Any>>) -> Trouble {
    Trouble {
        url: Some("https://api.whereby.test/v1".into()),
        variables: vec![("HTTPS_PROXY", proxy.to_owned())],
        servers,
        ..Trouble::default()
    }
}

async fn refusing(line: &'static str, user: &str) -> Trouble {
    let proxy = Proxy::refusing(line).await;
    behind(&format!("http://{user}{}", proxy.address), vec![Box::new(proxy)])
}

fn answering(reply: Reply) -> Trouble {
    Trouble { reply: Some(reply), ..Trouble::default() }
}

/// An API key that expires so many seconds from now.
fn key(seconds: i64) -> String {
    let exp = OffsetDateTime::now_utc().unix_timestamp() + seconds;
    // {"alg":"none"}, and the claims in the alphabet that keys have.
    let claims = json!({"organizationId": 1, "exp": exp}).to_string();
    format!("eyJhbGciOiJub25lIn0.{}.c2ln", base64_url(claims.as_bytes()))
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

fn http_date(date: OffsetDateTime) -> String {
    date.format(&Rfc2822).expect("a date").replace("+0000", "GMT")
}

async fn rows() -> Vec<Row> {
    let authority = Authority::new();
    let ours = Some(&authority);
    let many_headers =
        (0..101).fold("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n".to_owned(), |head, index| {
            format!("{head}x-{index}: 1\r\n")
        }) + "\r\n{}";
    let gzip =
        |status| Reply::status(status).body(b"\x1f\x8b\x08").header("content-encoding", "gzip");
    let now = OffsetDateTime::now_utc();
    let plain = async {
        let simulator = Simulator::start(Options::default()).await.expect("a simulator");
        let url = simulator.url().replace("http://", "https://");
        Trouble { url: Some(url), servers: vec![Box::new(simulator)], ..Trouble::default() }
    };
    let unavailable = |name, trouble, message, hint, retryable, tries| Row {
        name,
        trouble,
        kind: "unavailable",
        message,
        hint,
        retryable,
        exit: 8,
        tries,
    };
    let lasting =
        |name, trouble, message, hint| unavailable(name, trouble, message, hint, false, 1);
    vec![
        lasting(
            "a certificate that has expired",
            tls(authority.certify("127.0.0.1", 2020), ours).await,
            &["the certificate of 127.0.0.1:", "expired on 2020-12-31", "clock says"],
            &["clock", "ca_file"],
        ),
        lasting(
            "a certificate that is not valid yet, or a clock that is behind",
            tls(authority.certify_from(2990, "127.0.0.1", LATER), ours).await,
            &["the certificate of 127.0.0.1:", "is not valid before 2990-01-01", "clock says"],
            &["clock"],
        ),
        lasting(
            "a certificate of an unknown authority",
            tls(authority.certify("127.0.0.1", LATER), None).await,
            &["the certificate of 127.0.0.1:", "self-signed", "authority that is not trusted"],
            &["ca_file"],
        ),
        lasting(
            "a certificate that signed itself",
            tls(authority.as_server(), ours).await,
            &["the certificate of 127.0.0.1:", "is self-signed"],
            &["ca_file"],
        ),
        lasting(
            "a certificate for another name",
            tls(authority.certify("other.example", LATER), ours).await,
            &["the certificate of 127.0.0.1:", "is for another name: other.example"],
            &["api_url", "ca_file"],
        ),
        lasting(
            "a server without TLS",
            plain.await,
            &["the secure connection failed", "127.0.0.1:", "answers without TLS"],
            &["api_url"],
        ),
        lasting(
            "TLS where none is spoken",
            {
                let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
                let url = server.url().replace("https://", "http://");
                Trouble { url: Some(url), servers: vec![Box::new(server)], ..Trouble::default() }
            },
            &["127.0.0.1:", "sent no valid HTTP response"],
            &["api_url", "https://"],
        ),
        lasting(
            "a proxy that wants a password",
            refusing("HTTP/1.1 407 Proxy Authentication Required", "").await,
            &["the proxy http://127.0.0.1:", "(HTTPS_PROXY)", "requires a user name", "407"],
            &["HTTPS_PROXY", "USER:PASSWORD"],
        ),
        lasting(
            "a proxy that does not take the password",
            refusing("HTTP/1.1 407 Proxy Authentication Required", "user:s3cret@").await,
            &["the proxy http://127.0.0.1:", "does not accept the user name and password", "407"],
            &["HTTPS_PROXY"],
        ),
        lasting(
            "a proxy that does not allow the host",
            refusing("HTTP/1.1 403 Forbidden", "").await,
            &[
                "the proxy http://127.0.0.1:",
                "does not allow connections to api.whereby.test",
                "403",
            ],
            &["the proxy's operator", "NO_PROXY"],
        ),
        unavailable(
            "a proxy that does not reach the host",
            refusing("HTTP/1.1 502 Bad Gateway", "").await,
            &["the proxy http://127.0.0.1:", "could not connect to api.whereby.test", "502"],
            &["the proxy's operator"],
            true,
            4,
        ),
        lasting(
            "a proxy that is none",
            refusing("SSH-2.0-OpenSSH_9.9", "").await,
            &["the proxy http://127.0.0.1:", "does not answer as an HTTP proxy"],
            &["HTTPS_PROXY"],
        ),
        unavailable(
            "a proxy that breaks off after it has connected",
            refusing("HTTP/1.1 200 Connection established", "").await,
            &[
                "the proxy http://127.0.0.1:",
                "(HTTPS_PROXY): the connection to api.whereby.test was closed during the request: ",
            ],
            &["the proxy's operator"],
            true,
            4,
        ),
        unavailable(
            "a proxy that does not run",
            behind("http://user:s3cret@127.0.0.1:1", Vec::new()),
            &["the proxy http://127.0.0.1:1 (HTTPS_PROXY) refused the connection"],
            &["check HTTPS_PROXY", "NO_PROXY"],
            true,
            1,
        ),
        unavailable(
            "a proxy that nobody knows",
            behind("http://proxy.invalid:3128", Vec::new()),
            &["the host name of the proxy http://proxy.invalid:3128 (HTTPS_PROXY)", "resolved"],
            &["check HTTPS_PROXY", "NO_PROXY"],
            true,
            1,
        ),
        lasting(
            "a proxy that looks inside",
            {
                let theirs =
                    Server::start(Authority::new().certify("api.whereby.test", LATER)).await;
                let proxy = Proxy::start(Some(theirs.address)).await;
                let url = format!("http://{}", proxy.address);
                let servers: Vec<Box<dyn Any>> = vec![Box::new(theirs), Box::new(proxy)];
                behind(&url, servers)
            },
            &["the certificate of api.whereby.test, reached through the proxy http://127.0.0.1:"],
            &["ca_file"],
        ),
        Row {
            kind: "configuration",
            exit: 3,
            tries: 0,
            ..lasting(
                "a proxy of another kind",
                behind("socks5://user:s3cret@127.0.0.1:1", Vec::new()),
                &["HTTPS_PROXY names a socks5 proxy", "http or https proxy", "NO_PROXY"],
                &[],
            )
        },
        unavailable(
            "a host name that is not known",
            Trouble { url: Some("https://api.whereby.invalid/v1".into()), ..Trouble::default() },
            &["the host name api.whereby.invalid could not be resolved"],
            &["network, DNS", "HTTPS_PROXY"],
            true,
            4,
        ),
        unavailable(
            "a server that does not run",
            Trouble { url: Some("http://127.0.0.1:1/v1".into()), ..Trouble::default() },
            &["127.0.0.1:1 refused the connection"],
            &["api_url"],
            true,
            4,
        ),
        Row {
            kind: "unexpected-response",
            ..lasting(
                "over 100 headers",
                answering(Reply::raw(many_headers)),
                &["too many response headers", "limit: 100"],
                &["headers"],
            )
        },
        lasting(
            "an answer that is no HTTP",
            answering(Reply::raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")),
            &["127.0.0.1:", "sent no valid HTTP response"],
            &["api_url"],
        ),
        Row {
            kind: "unexpected-response",
            ..lasting(
                "an answer that is compressed",
                answering(gzip(200)),
                &["127.0.0.1:", "Content-Encoding: gzip"],
                &["proxy or gateway"],
            )
        },
        Row {
            kind: "rejected",
            exit: 6,
            ..lasting(
                "a refusal that is compressed",
                answering(gzip(400)),
                &["127.0.0.1:", "Content-Encoding: gzip"],
                &[],
            )
        },
        Row {
            kind: "rejected",
            exit: 6,
            ..lasting(
                "a refusal with its words inside",
                answering(Reply::status(400).json(&json!({
                    "errors": [{"field": "endDate", "message": "endDate is in the past"}]
                }))),
                &["(400): endDate is in the past"],
                &[],
            )
        },
        Row {
            kind: "rate-limited",
            exit: 7,
            ..unavailable(
                "a rate limit that ends at a date",
                answering(
                    Reply::status(429)
                        .header("date", &http_date(now))
                        .header("retry-after", &http_date(now + Duration::HOUR)),
                ),
                &["rate limit", "3600 s"],
                &["wait"],
                true,
                1,
            )
        },
        Row {
            kind: "rate-limited",
            exit: 7,
            ..unavailable(
                "a rate limit of which nobody says when it ends",
                answering(Reply::status(429)),
                &["rate limit", "did not say for how long"],
                &["wait"],
                true,
                4,
            )
        },
        Row {
            kind: "unauthorized",
            exit: 3,
            ..lasting(
                "a key that has expired",
                Trouble { token: Some(format!("\"{}\"", key(-3600))), ..Trouble::default() },
                &["the access token of the account `work` expired on 20", "401"],
                &["make a", "key in Whereby's dashboard"],
            )
        },
        Row {
            kind: "configuration",
            exit: 3,
            tries: 0,
            ..lasting(
                "a key that others can read",
                Trouble { token: Some("{ file = \"open.key\" }".into()), ..Trouble::default() },
                &["open.key", "chmod 600"],
                &[],
            )
        },
        Row {
            kind: "configuration",
            exit: 3,
            tries: 0,
            ..lasting(
                "certificates that are none",
                Trouble {
                    url: Some("https://127.0.0.1:1/v1".into()),
                    ca: Some("nothing".into()),
                    ..Trouble::default()
                },
                &["ca_file holds no certificate"],
                &[],
            )
        },
        Row {
            kind: "configuration",
            exit: 3,
            tries: 0,
            ..lasting(
                "a certificate that is cut off",
                Trouble {
                    url: Some("https://127.0.0.1:1/v1".into()),
                    ca: Some("-----BEGIN CERTIFICATE-----\nAAAA\n".into()),
                    ..Trouble::default()
                },
                &["ca_file: certificate 1 has no END line", "PEM"],
                &[],
            )
        },
        Row {
            kind: "configuration",
            exit: 3,
            tries: 0,
            ..lasting(
                "a certificate that is something else",
                Trouble {
                    url: Some("https://127.0.0.1:1/v1".into()),
                    ca: Some(
                        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
                    ),
                    ..Trouble::default()
                },
                &["ca_file: certificate 1 is damaged", "PEM"],
                &[],
            )
        },
        Row {
            kind: "rejected",
            exit: 6,
            ..lasting(
                "a refusal that is a list",
                answering(Reply::status(400).json(&json!([
                    {"path": "endDate", "message": "must be in the future"},
                    {"path": ["fields", 0], "message": "is unknown"}
                ]))),
                &["(400): endDate: must be in the future; fields.0: is unknown"],
                &[],
            )
        },
    ]
}

impl Trouble {
    /// A user who has it.
    async fn world(&self) -> (World, Environment) {
        let world = World::with_rooms(Vec::new()).await;
        let token = format!("\"{}\"", world.simulator.token());
        let (token, url) = (self.token.clone().unwrap_or(token), world.simulator.url());
        let url = self.url.as_deref().unwrap_or(&url);
        let mut config = String::new();
        if let Some(ca) = &self.ca {
            world.write("config/whereby/ca.pem", ca);
            config.push_str("ca_file = \"ca.pem\"\n");
        }
        config.push_str(&format!("[accounts.work]\napi_url = \"{url}\"\naccess_token = {token}\n"));
        world.write("config/whereby/config.toml", &config);
        set_mode(&world.write("config/whereby/open.key", "s3cret"), 0o644);
        if let Some(reply) = &self.reply {
            world.simulator.script("GET", "/v1/meetings", 100, reply.clone());
        }
        let mut environment = world.environment();
        let variables = self.variables.iter();
        environment
            .variables
            .extend(variables.map(|(name, value)| ((*name).into(), value.clone())));
        (world, environment)
    }
}

/// Calls the function by a server as `whereby mcp` has it.
async fn by_mcp(environment: Environment) -> (String, Value) {
    let settings = Settings::load(None, &environment).expect("a good configuration");
    let cache = environment.platform_directory("cache");
    let session = Session::builder().settings(settings).environment(environment).cache(cache);
    let server = McpServer::builder(session.build().expect("a session")).build();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (read, write) = tokio::io::split(theirs);
    let server = tokio::spawn(async move { server.serve(read, write).await });
    let client = ().serve(ours).await.expect("a client");
    let result = client.call_tool(CallToolRequestParams::new("whereby_get_current_user"));
    let result = result.await.expect("an answer");
    let document = result.meta.expect("a document").0["whereby/error"].clone();
    let text = result.content[0].as_text().expect("a text").text.clone();
    client.cancel().await.expect("the client ends");
    server.await.expect("no panic").expect("the server ends well");
    (text, document)
}

impl Row {
    /// Fails where the text lacks what the row says.
    fn assert_told(&self, place: &str, text: &str) {
        for words in self.message.iter().chain(self.hint) {
            assert!(text.contains(words), "{}, {place}: no {words:?} in {text}", self.name);
        }
        assert!(!text.contains("s3cret"), "{}, {place}: {text}", self.name);
    }

    fn assert_document(&self, place: &str, error: &Value) {
        let (name, text) = (self.name, |key: &str| error[key].as_str().unwrap_or_default());
        assert_eq!(error["kind"], self.kind, "{name}, {place}: {error}");
        for words in self.message {
            assert!(text("message").contains(words), "{name}, {place}: no {words:?} in {error}");
        }
        for words in self.hint {
            assert!(text("hint").contains(words), "{name}, {place}: no {words:?} in {error}");
        }
        assert_eq!(error["retryable"], self.retryable, "{name}, {place}: {error}");
        assert_eq!(error["effect"], "none", "{name}, {place}: {error}");
        let seconds = self.message.contains(&"3600 s").then_some(3600);
        assert_eq!(error["retry_after_seconds"], json!(seconds), "{name}, {place}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{name}, {place}: {error}");
    }

    /// Has everybody tell of it.
    async fn try_out(self) {
        let (world, environment) = self.trouble.world().await;
        let script = world.write("script.lua", "app.integrations.whereby.get_current_user({})");
        let script = script.display().to_string();
        let run = |arguments: &'static [&'static str]| {
            let environment = environment.clone();
            async move { run(arguments, environment, "", false).await }
        };
        let lua = async {
            let arguments = ["lua", &script, "--json"];
            whereby_tests::run(&arguments, environment.clone(), "", false).await
        };
        let (plain, json, lua, doctor, doctor_json, (mcp_text, mcp)) = tokio::join!(
            run(&["call", "get_current_user"]),
            run(&["call", "get_current_user", "--json"]),
            lua,
            run(&["doctor"]),
            run(&["doctor", "--json"]),
            by_mcp(environment.clone()),
        );
        self.assert_told("call", &plain.stderr);
        let document = json.json();
        self.assert_document("call --json", &document["error"]);
        assert_eq!(document["meta"]["requests"], self.tries, "{}: {document}", self.name);
        self.assert_document("lua", &lua.json()["error"]);
        self.assert_document("mcp", &mcp);
        self.assert_told("mcp", &mcp_text);
        let document = doctor_json.json();
        let checks = document["checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["name"] == "account work").expect("a check");
        assert_eq!(check["status"], "failed", "{}: {check}", self.name);
        self.assert_told("doctor --json", &format!("{} {}", check["message"], check["fix"]));
        self.assert_told("doctor", &doctor.stdout);
        for (place, ran) in [
            ("call", &plain),
            ("call --json", &json),
            ("lua", &lua),
            ("doctor", &doctor),
            ("doctor --json", &doctor_json),
        ] {
            assert_eq!(ran.code, self.exit, "{}, {place}: {ran:?}", self.name);
        }
        drop(self.trouble);
    }
}

#[tokio::test]
async fn each_cause_is_told_alike_wherever_it_shows() {
    // The first call compiles the component for all of them.
    let world = World::with_rooms(Vec::new()).await;
    assert_eq!(world.run(&["call", "get_current_user"]).await.code, 0);
    for row in rows().await {
        row.try_out().await;
    }
}

/// An account that Whereby accepts whose key expires so many seconds from now.
async fn doctor_of_key(seconds: i64) -> Value {
    let key = key(seconds);
    let trouble = Trouble {
        token: Some(format!("\"{key}\"")),
        reply: Some(Reply::status(200).json(&json!({"results": [], "cursor": null}))),
        ..Trouble::default()
    };
    let (_world, environment) = trouble.world().await;
    let ran = run(&["doctor", "--json"], environment, "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains(&key), "the token was printed");
    let checks = ran.json()["checks"].clone();
    let mut checks = checks.as_array().expect("a list").iter();
    checks.find(|check| check["name"] == "access token work").cloned().unwrap_or_default()
}

#[tokio::test]
async fn the_doctor_warns_of_a_key_that_expires_within_two_weeks() {
    const DAY: i64 = 24 * 60 * 60;
    for (seconds, words) in [
        (DAY, Some("it expires on 20")),
        (13 * DAY, Some("it expires on 20")),
        (-DAY, Some("it claims to have expired on 20")),
        (15 * DAY, None),
    ] {
        let check = doctor_of_key(seconds).await;
        match words {
            None => assert_eq!(check, Value::Null, "{seconds}"),
            Some(words) => {
                let message = check["message"].as_str().expect("a message");
                assert!(message.contains(words), "{seconds}: {check}");
                assert_eq!(check["status"], "warning", "{seconds}: {check}");
                let fix = check["fix"].as_str().expect("what to do");
                assert!(fix.contains("make a key") && fix.contains("configure"), "{check}");
            }
        }
    }
}
