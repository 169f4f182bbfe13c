//! Rooms from creation to deletion, keys, paging, the rate limit, and what is recorded.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_room_is_created_read_listed_and_deleted() {
    let (simulator, mut client) = start(options(vec![])).await;
    let wish = json!({
        "endDate": "2026-03-02T13:00:00+01:00",
        "startDate": "2026-03-02T11:00:00Z",
        "roomMode": "group",
        "roomNamePrefix": "Stand Up-",
        "fields": ["hostRoomUrl"],
    });
    let created = client.post(&wish).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("content-type"), Some("application/json; charset=utf-8"));
    let mut room = created.json();
    let host_url = room.as_object_mut().unwrap().remove("hostRoomUrl").unwrap();
    let name = room["roomName"].as_str().unwrap().to_owned();
    let id = room["meetingId"].as_str().unwrap().to_owned();
    assert!(name.starts_with("/standup-") && name.len() == "/standup-".len() + 36, "{name}");
    assert!(id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_digit()), "{id}");
    assert_eq!(
        room,
        json!({
            "meetingId": id,
            "startDate": "2026-03-02T08:15:04.118Z",
            "endDate": "2026-03-02T12:00:00.000Z",
            "roomName": name,
            "roomUrl": format!("https://acme-demo.whereby.com{name}"),
        })
    );
    let (url, key) = host_url.as_str().unwrap().split_once("?roomKey=").unwrap();
    assert_eq!(url, room["roomUrl"].as_str().unwrap());
    assert_eq!(key.split('.').count(), 3);

    assert_eq!(client.get(&format!("/meetings/{id}")).await.json(), room);
    let both = client.get(&format!("/meetings/{id}?fields=hostRoomUrl,viewerRoomUrl")).await.json();
    assert_eq!(both["hostRoomUrl"], host_url);
    assert_ne!(both["viewerRoomUrl"], host_url);
    assert_eq!(client.get("/meetings").await.json(), json!({ "results": [room], "cursor": null }));

    for _ in 0..2 {
        let deleted = client.delete(&format!("/meetings/{id}")).await;
        assert_eq!((deleted.status, deleted.body.as_slice()), (204, &b""[..]));
    }
    let missing = client.get(&format!("/meetings/{id}")).await;
    assert_eq!((missing.status, missing.text()), (404, r#"{"error":"Not found"}"#));
    assert_eq!(client.get("/meetings").await.json(), json!({ "results": [], "cursor": null }));
    assert_eq!(simulator.connections(), 1);
}

#[tokio::test]
async fn viewer_mode_and_human_short_names() {
    let (_simulator, mut client) = start(options(vec![])).await;
    let wish = json!({ "endDate": "2099-01-01T00:00:00Z", "roomNamePattern": "human-short", "templateType": "viewerMode" });
    let room = client.post(&wish).await.json();
    assert_eq!(room["roomName"].as_str().unwrap().len(), 7);
    assert!(room["hostRoomUrl"].is_string() && room["viewerRoomUrl"].is_string());
}

#[tokio::test]
async fn all_rooms_are_listed_newest_first_even_if_some_are_deleted_meanwhile() {
    let (_simulator, mut client) = start(options(RoomSeed::many("bulk-", 250))).await;
    let first = client.get("/meetings").await;
    assert_eq!(first.column("roomName").len(), 50, "the default limit");
    let mut names = Vec::new();
    let mut target = "/meetings?limit=100".to_owned();
    let mut pages = 0;
    loop {
        let page = client.get(&target).await;
        names.extend(page.column("roomName"));
        pages += 1;
        if pages == 1 {
            // The last room of the page. The cursor stays valid without it.
            let last = page.column("meetingId")[99].as_str().unwrap().to_owned();
            client.delete(&format!("/meetings/{last}")).await;
        }
        let Value::String(cursor) = &page.json()["cursor"] else { break };
        assert_eq!(cursor.len(), 32);
        target = format!("/meetings?limit=100&cursor={cursor}");
    }
    let expected: Vec<_> =
        (1..=250).rev().map(|number| Value::from(format!("/bulk-{number:04}"))).collect();
    assert_eq!((pages, names), (3, expected));

    let filtered = client.get("/meetings?roomName%5BstartsWith%5D=%2Fbulk-01&limit=100").await;
    assert_eq!(
        filtered.column("roomName").len(),
        99,
        "/bulk-0100 to /bulk-0199 without the deleted /bulk-0151"
    );
    assert_eq!(
        client.get("/meetings?roomName[startsWith]=bulk-01").await.json()["results"],
        json!([])
    );
    let foreign =
        client.get("/meetings?limit=2").await.json()["cursor"].as_str().unwrap().to_owned();
    for bad in [
        "8f4031bfc7640c5f267b11b6fe0c2507",
        "x",
        "",
        &format!("{foreign}&roomName[startsWith]=/bulk"),
    ] {
        assert_eq!(client.get(&format!("/meetings?cursor={bad}")).await.status, 400, "{bad}");
    }
    assert_eq!(client.get(&format!("/recordings?cursor={foreign}")).await.status, 400);
}

#[tokio::test]
async fn rooms_disappear_a_day_after_their_end() {
    let rooms = vec![RoomSeed::named("a").ended(Duration::from_hours(23)), RoomSeed::named("b")];
    let (simulator, mut client) = start(options(rooms)).await;
    assert_eq!(client.get("/meetings").await.column("roomName").len(), 2);
    simulator.advance(Duration::from_hours(1));
    assert_eq!(client.get("/meetings").await.column("roomName"), ["/b"]);
}

#[tokio::test]
async fn each_key_opens_only_its_organization() {
    let mut options = options(vec![RoomSeed::named("ours")]);
    let theirs =
        OrganizationSeed::new("nordlys-demo", Seed::Rooms(vec![RoomSeed::named("theirs")]));
    options.organizations.push(theirs.with_token("not-a-jwt"));
    let (simulator, mut client) = start(options).await;
    let ours = client.get("/meetings").await.json();
    assert_eq!(ours["results"][0]["roomName"], "/ours");
    client.token = simulator.tokens()[1].clone();
    assert_eq!(client.token, "not-a-jwt");
    let theirs = client.get("/meetings").await;
    assert_eq!(theirs.column("roomUrl"), ["https://nordlys-demo.whereby.com/theirs"]);
    let our_id = ours["results"][0]["meetingId"].as_str().unwrap();
    assert_eq!(client.get(&format!("/meetings/{our_id}")).await.status, 404);

    for authorization in [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer x\r\n",
        "Authorization: Basic not-a-jwt\r\n",
    ] {
        client
            .write_bytes(
                format!("GET /v1/meetings HTTP/1.1\r\nHost: x\r\n{authorization}\r\n").as_bytes(),
            )
            .await;
        let refused = client.read().await;
        assert_eq!(
            (refused.status, refused.text()),
            (401, r#"{"error":"Unauthorized"}"#),
            "{authorization}"
        );
    }
}

#[tokio::test]
async fn unknown_endpoints_are_not_found() {
    let (_simulator, mut client) = start(options(vec![])).await;
    for (method, target) in [
        ("GET", "/rooms"),
        ("POST", "/rooms"),
        ("GET", "/rooms/a"),
        ("DELETE", "/rooms/a"),
        ("GET", "/users/me"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/meetings/"),
        ("GET", "/meetings/1/2"),
        ("PUT", "/meetings/1"),
        ("PATCH", "/meetings/1"),
        ("DELETE", "/meetings"),
        ("POST", "/recordings"),
        ("GET", "/insights"),
        ("GET", "/insights/x"),
        ("POST", "/insights/rooms"),
    ] {
        let answer = client.send(method, target, "").await;
        assert_eq!(
            (answer.status, answer.text()),
            (404, r#"{"error":"Not found"}"#),
            "{method} {target}"
        );
    }
}

#[tokio::test]
async fn invalid_bodies_are_refused() {
    let (simulator, mut client) = start(options(vec![])).await;
    for body in ["{", "[]", r#"{"roomMode":"group"}"#, r#"{"endDate":"2026-03-02T08:15:04Z"}"#] {
        let answer = client.send("POST", "/meetings", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].is_string());
    }
    let plain = format!(
        "POST /v1/meetings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n",
        simulator.token()
    );
    client
        .write_bytes(
            format!("{plain}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes(),
        )
        .await;
    assert_eq!(client.read().await.text(), r#"{"error":"Content-Type must be application/json"}"#);
    // One byte too many.
    let long = "9".repeat(1024 * 1024 + 1);
    assert_eq!(client.send("POST", "/meetings", &long).await.status, 413);
    let mut client = Client::connect(&simulator).await;
    assert_eq!(client.get("/meetings").await.json()["results"], json!([]));
}

#[tokio::test]
async fn points_run_out_and_come_back_after_a_minute() {
    let mut options = options(vec![]);
    options.switches.rate_limit = 8;
    let (simulator, mut client) = start(options).await;
    let first = client.get("/meetings").await;
    assert_eq!(first.header("x-ratelimit-limit"), Some("8"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("5"));
    assert_eq!(
        first.header("x-ratelimit-reset"),
        Some("Mon Mar 02 2026 08:16:04 GMT+0000 (Coordinated Universal Time)")
    );
    assert_eq!(first.header("retry-after"), None);
    assert_eq!(client.get("/insights/rooms").await.status, 200);
    simulator.advance(Duration::from_millis(21_500));
    let limited = client.get("/meetings").await;
    assert_eq!(limited.status, 429);
    assert_eq!(
        limited.text(),
        r#"{"error":"Rate limit active for throttle key: organization:47110","data":{"msLeft":38500}}"#
    );
    assert_eq!(limited.header("retry-after"), Some("39"));
    assert_eq!(limited.header("x-ratelimit-remaining"), Some("0"));
    simulator.advance(Duration::from_secs(39));
    assert_eq!(client.get("/meetings").await.status, 200);
}

#[tokio::test]
async fn requests_are_recorded_without_showing_the_key() {
    let (simulator, mut client) = start(options(vec![])).await;
    client.get("/meetings?roomName%5BstartsWith%5D=%2Fa+b&limit=3").await;
    client.post(&json!({ "endDate": "2099-01-01T00:00:00Z" })).await;
    let requests = simulator.requests();
    assert_eq!(requests.len(), 2);
    let [get, post] = &requests[..] else { unreachable!() };
    assert_eq!((get.method.as_str(), get.path.as_str()), ("GET", "/v1/meetings"));
    assert_eq!(get.query, "roomName%5BstartsWith%5D=%2Fa+b&limit=3");
    assert_eq!(get.query_value("roomName[startsWith]"), Some("/a b"));
    assert_eq!(
        (get.status, post.status, get.connection, post.connection),
        (Some(200), Some(201), 1, 1)
    );
    assert_eq!(&post.body[..], br#"{"endDate":"2099-01-01T00:00:00Z"}"#);
    assert_eq!(get.header("authorization"), Some(&*format!("Bearer {}", simulator.token())));
    let shown = format!("{requests:?} {simulator:?} {:?}", options(vec![]));
    assert!(shown.contains("/v1/meetings") && !shown.contains(simulator.token()), "{shown}");
    simulator.clear_requests();
    assert!(simulator.requests().is_empty());

    let (silent, mut client) = start(Options { record: false, ..options(vec![]) }).await;
    client.get("/meetings").await;
    assert!(silent.requests().is_empty());
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_stops() {
    let everywhere = Options { listen: ([0, 0, 0, 0], 0).into(), ..Options::default() };
    assert_eq!(Simulator::start(everywhere).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let (simulator, mut client) = start(options(vec![])).await;
    assert_eq!(simulator.url(), format!("http://127.0.0.1:{}/v1", simulator.address().port()));
    client.get("/meetings").await;
    let address = simulator.address();
    simulator.stop().await;
    assert_eq!(client.read_to_end().await, b"");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_responses() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let fixed = Options { organizations: Options::default().organizations, ..options(vec![]) };
        let (simulator, mut client) = start(fixed).await;
        client.post(&json!({ "endDate": "2099-01-01T00:00:00Z" })).await;
        let mut all = simulator.token().to_owned();
        for target in
            ["/meetings?fields=hostRoomUrl", "/insights/rooms", "/recordings", "/transcriptions"]
        {
            all.push_str(client.get(target).await.text());
        }
        answers.push(all);
    }
    assert_eq!(answers[0], answers[1]);
}
