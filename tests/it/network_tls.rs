//! TLS: whose certificates are trusted, what is sent before one was, and the way by a proxy.

pub(crate) mod server;

use crate::wire::{kind, message};
use rcgen::KeyPair;
use serde_json::json;
use server::{Authority, Barrier, Proxy, Server};
use whereby::{Call, Outcome, Session, Settings, WriteOutcome};
use whereby_tests::World;

/// A year in which everything here is still in force.
const LATER: i32 = 2999;

const PEM: &str = "config/whereby/ca.pem";

/// Has the account `work` at this address, trusting the certificates in `ca.pem` where there is one.
fn configure_at(world: &World, url: &str) {
    let token = world.simulator.token();
    let ca_file = if world.path(PEM).exists() { "ca_file = \"ca.pem\"\n" } else { "" };
    let account = format!("[accounts.work]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n");
    let allow = crate::wire::ALLOW_ALL;
    world.write("config/whereby/config.toml", &format!("{ca_file}{allow}{account}"));
}

/// Calls a function where these variables are set, too.
async fn call(world: &World, function: &str, variables: &[(&str, &str)]) -> Outcome {
    let mut environment = world.environment();
    environment.variables.extend(variables.iter().map(|(n, v)| ((*n).into(), (*v).into())));
    let settings = Settings::load(None, &environment).expect("a good configuration");
    let cache = environment.platform_directory("cache");
    let builder = Session::builder().settings(settings).environment(environment).cache(cache);
    builder.build().expect("a session").call(None, function, json!({})).await
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_keeps_nothing_from_working_that_does_not_need_it() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
    for proxy in ["socks5://127.0.0.1:1", "://", "http://host:port"] {
        // Without TLS none is used.
        configure_at(&world, &world.simulator.url());
        let outcome = call(&world, "list_rooms", &[("HTTPS_PROXY", proxy)]).await;
        assert!(outcome.result.is_ok(), "{proxy}: {:?}", outcome.result);
        configure_at(&world, &server.url());
        let excepted = [("ALL_PROXY", proxy), ("NO_PROXY", "127.0.0.1")];
        let outcome = call(&world, "list_rooms", &excepted).await;
        assert!(outcome.result.is_ok(), "{proxy}: {:?}", outcome.result);
        let outcome = call(&world, "list_rooms", &excepted[..1]).await;
        assert_eq!(kind(&outcome), "configuration", "{proxy}");
        assert!(message(&outcome).starts_with("ALL_PROXY "), "{}", message(&outcome));
    }
    assert_eq!(server.seen.now().connections, 3, "it never goes around a proxy");
}

#[tokio::test]
async fn an_entry_of_no_proxy_that_is_not_understood_is_a_warning() {
    let world = World::with_rooms(Vec::new()).await;
    let mut environment = world.environment();
    let hosts = "example.org, http://a.example, 10.*, .b.example".to_owned();
    environment.variables.insert("no_proxy".into(), hosts);
    let warnings = |environment| Settings::load(None, &environment).expect("good").warnings;
    assert_eq!(warnings(environment.clone()), [""; 0], "without a proxy it does not matter");
    environment.variables.insert("HTTPS_PROXY".into(), "http://127.0.0.1:1".into());
    let warnings = warnings(environment);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, entry) in warnings.iter().zip(["http://a.example", "10.*"]) {
        assert!(warning.contains(&format!("no_proxy: `{entry}` has no effect")), "{warning}");
    }
}

/// Fails where a call is anything but stopped before the server could read any of it.
async fn assert_distrusted(world: &World, server: &Server, case: &str) {
    configure_at(world, &server.url());
    for function in ["list_rooms", "create_room"] {
        let outcome = call(world, function, &[]).await;
        assert_eq!(kind(&outcome), "unavailable", "{case}");
        assert!(message(&outcome).contains("certificate"), "{case}: {}", message(&outcome));
        assert_eq!(outcome.write, WriteOutcome::None, "{case}: {function}");
        assert_eq!(outcome.requests.len(), 1, "{case}: it would only happen again");
        let shown = format!("{outcome:?}");
        assert!(!shown.contains(world.simulator.token()), "{case}: {shown}");
    }
    let (connections, handshakes) = {
        let seen = server.seen.now();
        (seen.connections, seen.handshakes)
    };
    assert_eq!(connections, 2, "{case}");
    let text = server.seen.text();
    // In TLS 1.3 the server may be done before the client has looked at the certificate.
    assert!(handshakes <= connections && text.starts_with('\u{16}'), "{case}: no TLS");
    for word in ["HTTP/", "GET", "POST", "meetings", "Bearer", world.simulator.token()] {
        assert!(!text.contains(word), "{case}: {word} could be read");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent() {
    let world = World::with_rooms(Vec::new()).await;
    let server = Server::start(Authority::new().certify("127.0.0.1", LATER)).await;
    assert_distrusted(&world, &server, "no ca_file").await;

    world.write(PEM, &Authority::new().pem());
    let server = Server::start(Authority::new().certify("127.0.0.1", LATER)).await;
    assert_distrusted(&world, &server, "another authority").await;
}

#[tokio::test]
async fn a_certificate_for_another_server_is_refused_before_anything_is_sent() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    for name in ["127.0.0.2", "localhost", "api.whereby.dev"] {
        let server = Server::start(authority.certify(name, LATER)).await;
        assert_distrusted(&world, &server, name).await;
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_before_anything_is_sent() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    let server = Server::start(authority.certify("127.0.0.1", 2020)).await;
    assert_distrusted(&world, &server, "expired").await;
}

#[tokio::test]
async fn a_certificate_of_the_users_own_authority_is_trusted_and_both_protocols_are_offered() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    // The right one is not the first one.
    world.write(PEM, &format!("# ours\n{}\n{}", Authority::new().pem(), authority.pem()));
    let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
    configure_at(&world, &server.url());
    // No variable adds or takes away anything.
    let elsewhere = world.path("nothing").display().to_string();
    let outcome =
        call(&world, "list_rooms", &[("SSL_CERT_FILE", &elsewhere), ("SSL_CERT_DIR", "/")]).await;
    assert_eq!(outcome.result.expect("a page")["data"], json!([]));
    let text = server.seen.text();
    assert!(text.contains("GET /v1/meetings HTTP/1.1\r\n"), "{text}");
    assert!(text.contains(&format!("Bearer {}\r\n", world.simulator.token())), "no token");
    let seen = server.seen.now();
    assert_eq!((seen.connections, seen.handshakes), (1, 1));
    assert_eq!(seen.offered, ["h2", "http/1.1"]);
    assert_eq!(seen.name, None, "an address is no name");
}

#[tokio::test]
async fn a_variable_that_names_certificates_makes_none_trusted() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    let file = world.write("theirs.pem", &authority.pem()).display().to_string();
    let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
    configure_at(&world, &server.url());
    let variables = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "WHEREBY_CA_FILE"];
    let outcome = call(&world, "list_rooms", &variables.map(|name| (name, file.as_str()))).await;
    assert_eq!(kind(&outcome), "unavailable");
    assert!(!server.seen.text().contains("HTTP/"));
}

#[tokio::test]
async fn a_server_without_tls_where_tls_is_expected_gets_nothing_to_read() {
    let world = World::with_rooms(Vec::new()).await;
    configure_at(&world, &world.simulator.url().replace("http://", "https://"));
    let outcome = call(&world, "create_room", &[]).await;
    assert_eq!(kind(&outcome), "unavailable");
    assert!(message(&outcome).contains("the secure connection failed"), "{}", message(&outcome));
    assert_eq!(outcome.write, WriteOutcome::None);
    world.assert_untouched();
}

#[tokio::test]
async fn a_file_of_certificates_without_one_is_a_configuration_error() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
    let key = KeyPair::generate().expect("a key").serialize_pem();
    let cut = authority.pem().replace("-----END CERTIFICATE-----", "");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (what, contents, words) in [
        ("nothing", Vec::new(), "holds no certificate"),
        ("a text", b"trust everybody\n".to_vec(), "holds no certificate"),
        ("a key", key.into_bytes(), "holds no certificate"),
        ("DER", vec![0x30, 0x82, 0xff, 0xfe, 0x80], "holds no certificate"),
        ("no certificate in PEM", garbage.into(), "ca_file: "),
        ("half a certificate", cut.into_bytes(), "ca_file"),
        // One that cannot be read is no reason to go on with the others.
        ("a good and a bad one", (authority.pem() + garbage).into_bytes(), "ca_file: "),
        ("too much", vec![b'#'; 4 * 1024 * 1024 + 1], "is larger than 4194304 bytes"),
    ] {
        std::fs::write(world.path(PEM), contents).expect("a file");
        configure_at(&world, &server.url());
        let outcome = call(&world, "list_rooms", &[]).await;
        assert_eq!(kind(&outcome), "configuration", "{what}");
        let text = message(&outcome);
        assert!(text.contains("ca_file") && text.contains(words), "{what}: {text}");
        assert!(!text.contains(char::is_control), "{what}: {text:?}");
    }
    assert_eq!(server.seen.now().connections, 0);
}

#[tokio::test]
async fn a_request_over_tls_goes_by_the_proxy_which_sees_where_to_and_never_the_token() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    let server = Server::start(authority.certify("api.whereby.test", LATER)).await;
    // Nobody but the proxy knows where that is.
    configure_at(&world, "https://api.whereby.test/v1");
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let proxy = Proxy::start(Some(server.address)).await;
        let url = format!("http://user:s3cret@{}", proxy.address);
        let outcome = call(&world, "list_rooms", &[(variable, &url)]).await;
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        let text = proxy.seen.text();
        assert!(text.starts_with("CONNECT api.whereby.test:443 HTTP/1.1\r\n"), "{text}");
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        let basic = "proxy-authorization: basic dxnlcjpzm2nyzxq=";
        assert!(head.contains(basic), "{head}");
        assert!(!head.contains("bearer") && !text.contains(world.simulator.token()));
        assert!(!text.contains("/meetings") && !text.contains("Bearer"));
        // And the server never sees what is between the user and the proxy.
        assert!(!server.seen.text().to_ascii_lowercase().contains("proxy-authorization"));
    }
    assert_eq!(server.seen.now().name.as_deref(), Some("api.whereby.test"));
    assert_eq!(server.seen.now().handshakes, 2);
}

#[tokio::test]
async fn a_proxy_is_spoken_to_over_tls_where_its_url_says_so() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    let server = Server::start(authority.certify("api.whereby.test", LATER)).await;
    configure_at(&world, "https://api.whereby.test/v1");
    let own = authority.certify("127.0.0.1", LATER);
    let proxy = Proxy::start_over(Some(own), Some(server.address)).await;
    let url = format!("https://user:s3cret@{}", proxy.address);
    let outcome = call(&world, "list_rooms", &[("HTTPS_PROXY", &url)]).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let text = proxy.seen.text();
    assert!(text.starts_with("CONNECT api.whereby.test:443 HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("user-agent: whereby/") && !text.contains("Bearer"), "{text}");
    assert_eq!(server.seen.now().handshakes, 1);

    // One whose certificate nobody vouches for is told nothing at all.
    let other = Authority::new().certify("127.0.0.1", LATER);
    let proxy = Proxy::start_over(Some(other), Some(server.address)).await;
    let url = format!("https://user:s3cret@{}", proxy.address);
    let outcome = call(&world, "create_room", &[("HTTPS_PROXY", &url)]).await;
    assert_eq!((kind(&outcome), outcome.write), ("unavailable", WriteOutcome::None));
    assert!(message(&outcome).contains("certificate"), "{}", message(&outcome));
    assert_eq!((proxy.seen.text().as_str(), server.seen.now().handshakes), ("", 1));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_as_such() {
    let world = World::with_rooms(Vec::new()).await;
    configure_at(&world, "https://api.whereby.test/v1");
    for (proxy, words) in [
        ("http://127.0.0.1:1", "the proxy http://127.0.0.1:1 (HTTPS_PROXY) refused the connection"),
        ("http://proxy.invalid:3128", "could not be resolved"),
    ] {
        let outcome = call(&world, "create_room", &[("HTTPS_PROXY", proxy)]).await;
        assert_eq!((kind(&outcome), outcome.write), ("unavailable", WriteOutcome::None), "{proxy}");
        assert!(message(&outcome).contains(words), "{proxy}: {}", message(&outcome));
    }
}

#[tokio::test]
async fn a_proxy_that_looks_inside_is_not_trusted() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    // It passes on to a server of its own.
    let theirs = Server::start(Authority::new().certify("api.whereby.test", LATER)).await;
    let proxy = Proxy::start(Some(theirs.address)).await;
    configure_at(&world, "https://api.whereby.test/v1");
    let url = format!("http://{}", proxy.address);
    let outcome = call(&world, "create_room", &[("HTTPS_PROXY", &url)]).await;
    assert_eq!(kind(&outcome), "unavailable");
    assert!(message(&outcome).contains("certificate"), "{}", message(&outcome));
    assert_eq!(outcome.write, WriteOutcome::None);
    assert!(!theirs.seen.text().contains("HTTP/"), "it read the request");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_unavailable_and_its_password_is_not_told() {
    let world = World::with_rooms(Vec::new()).await;
    configure_at(&world, "https://api.whereby.test/v1");
    let proxy = Proxy::start(None).await;
    let url = format!("http://user:s3cret@{}", proxy.address);
    let outcome = call(&world, "create_room", &[("HTTPS_PROXY", &url)]).await;
    assert_eq!(kind(&outcome), "unavailable");
    assert_eq!(outcome.write, WriteOutcome::None, "nothing of the call was sent");
    let shown = format!("{outcome:?} {}", message(&outcome));
    assert!(!shown.contains("s3cret"), "{shown}");

    for url in [
        "http://user:s3cret@",
        "://s3cret",
        "http://user:s3cret@host:port",
        "socks5://user:s3cret@127.0.0.1:1",
        "ftp://user:s3cret@127.0.0.1:1",
    ] {
        let outcome = call(&world, "list_rooms", &[("HTTPS_PROXY", url)]).await;
        assert_eq!(kind(&outcome), "configuration", "{url}");
        let shown = format!("{outcome:?} {}", message(&outcome));
        assert!(shown.contains("HTTPS_PROXY") && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn no_proxy_is_used_for_a_request_without_tls_or_for_a_host_that_is_excepted() {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    let proxy = Proxy::start(None).await;
    let url = format!("http://{}", proxy.address);
    let all = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"]
        .map(|name| (name, url.as_str()));
    let outcome = call(&world, "list_rooms", &all).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!((world.requests().len(), proxy.seen.now().connections), (1, 0));

    let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
    configure_at(&world, &server.url());
    // Those of other schemes are no business of a request over TLS.
    let outcome = call(&world, "list_rooms", &all[4..]).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    for (variable, hosts) in [
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
        ("NO_PROXY", "example.org, 127.0.0.0/8"),
        ("NO_PROXY", "*"),
        ("NO_PROXY", &server.address.to_string()),
    ] {
        let outcome = call(&world, "list_rooms", &[all[0], (variable, hosts)]).await;
        assert!(outcome.result.is_ok(), "{variable}={hosts}: {:?}", outcome.result);
    }
    // By name, too.
    let named = Server::start(authority.certify("localhost", LATER)).await;
    configure_at(&world, &format!("https://localhost:{}/v1", named.address.port()));
    for hosts in ["localhost", "example.org,localhost", "*", ".localhost", "a:b,*"] {
        let outcome = call(&world, "list_rooms", &[all[0], ("NO_PROXY", hosts)]).await;
        assert!(outcome.result.is_ok(), "NO_PROXY={hosts}: {:?}", outcome.result);
    }
    assert_eq!(proxy.seen.now().connections, 0);
    configure_at(&world, &server.url());
    // For any other host, or port, it is used, whichever variable names it.
    for (used, hosts) in
        [(all[0], "example.org"), (all[1], "127.0.0.1:1"), (all[2], "10.0.0.0/8"), (all[3], "")]
    {
        let before = proxy.seen.now().connections;
        let outcome = call(&world, "list_rooms", &[used, ("NO_PROXY", hosts)]).await;
        assert_eq!(kind(&outcome), "unavailable", "{used:?}");
        assert!(message(&outcome).contains(used.0), "{}", message(&outcome));
        assert_eq!(proxy.seen.now().connections, before + 1, "{used:?}");
    }
}

/// Stops an agent's calls while one of them waits for its connection. Returns the outcomes of that call,
/// and of a call by another agent that waits at the same time, in the same session.
async fn stopped_while_connecting(
    by_proxy: bool,
    function: &str,
    stop: impl AsyncFnOnce(&World),
) -> (World, Outcome, Outcome, String) {
    let world = World::with_rooms(Vec::new()).await;
    let authority = Authority::new();
    world.write(PEM, &authority.pem());
    let server = Server::start(authority.certify("127.0.0.1", LATER)).await;
    let (barrier, url, proxy);
    let mut environment = world.environment();
    if by_proxy {
        proxy = Proxy::start(Some(server.address)).await;
        barrier = Barrier::before(proxy.address).await;
        url = server.url();
        let way = format!("http://{}", barrier.address);
        environment.variables.insert("HTTPS_PROXY".into(), way);
    } else {
        barrier = Barrier::before(server.address).await;
        url = format!("https://{}/v1", barrier.address);
    }
    configure_at(&world, &url);
    let path = world.path("config/whereby/config.toml");
    let written = std::fs::read_to_string(&path).expect("the configuration");
    let agents = "[agents.a]\nvalid_until = 2999-01-01T00:00:00Z\n[agents.b]\n";
    world.write("config/whereby/config.toml", &format!("{written}{agents}"));
    let settings = Settings::load(None, &environment).expect("a good configuration");
    let cache = environment.platform_directory("cache");
    let builder = Session::builder().settings(settings).environment(environment).cache(cache);
    let session = builder.store(world.store()).build().expect("a session");
    let call = |agent| session.run(Call::new(function, json!({})).agent(Some(agent)));
    let meanwhile = async {
        barrier.arrived().await;
        barrier.arrived().await;
        stop(&world).await;
        barrier.open();
    };
    let (stopped, other, ()) = tokio::join!(call("a"), call("b"), meanwhile);
    let seen = server.seen.text();
    (world, stopped, other, seen)
}

#[tokio::test]
async fn what_stops_a_call_while_it_connects_stops_its_request() {
    for (by_proxy, function, request) in [
        (false, "list_rooms", "GET /v1/meetings"),
        (true, "list_rooms", "GET /v1/meetings"),
        (false, "create_room", "POST /v1/meetings"),
    ] {
        let freeze = async |world: &World| {
            let frozen = world.run(&["freeze", "--agent", "a"]).await;
            assert_eq!(frozen.code, 0, "{frozen:?}");
        };
        // Beyond the agent's end, by the clock of this machine.
        let wait = async |world: &World| world.move_clock(1000 * 366 * 86_400);
        let (frozen, over) = (
            stopped_while_connecting(by_proxy, function, freeze).await,
            stopped_while_connecting(by_proxy, function, wait).await,
        );
        for (words, (world, stopped, other, seen)) in
            [("frozen: the agent `a`", frozen), ("was allowed until 2999-01-01", over)]
        {
            assert_eq!(kind(&stopped), "denied", "{by_proxy}: {stopped:?}");
            assert!(message(&stopped).contains(words), "{}", message(&stopped));
            assert!(stopped.requests.is_empty(), "{:?}", stopped.requests);
            assert_eq!(stopped.write, WriteOutcome::None);
            // Nobody else's call is.
            assert_eq!(other.requests.len(), 1, "{by_proxy}: {:?}", other.result);
            assert_eq!(seen.matches(request).count(), 1, "{by_proxy}: {seen}");
            let rows = world.audit();
            let row = rows.iter().find(|row| row.agent.as_deref() == Some("a")).expect("a row");
            let outcome = row.outcome.as_ref().expect("an outcome");
            assert_eq!((outcome.kind.as_deref(), outcome.requests.len()), (Some("denied"), 0));
        }
    }
}
