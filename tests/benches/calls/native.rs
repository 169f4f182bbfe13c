//! A program that calls the API directly.

use crate::server::Server;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Makes the same requests and maps the responses in the same way, without a sandbox.
#[derive(Clone)]
pub(crate) struct Native {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Native {
    /// Returns a client. Each runtime needs its own, because it owns the connections.
    pub(crate) fn new(server: &Server) -> Self {
        Self::of(&server.url, &server.token)
    }

    /// Returns a client of the server with this URL and key.
    pub(crate) fn of(url: &str, token: &str) -> Self {
        Self::with(reqwest::Client::builder(), url, token)
    }

    /// Returns a client that reaches the server over TLS.
    pub(crate) fn over_tls(server: &Server) -> Self {
        let pem = std::fs::read(&server.certificate).expect("a certificate");
        let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        let builder = reqwest::Client::builder().tls_certs_only([certificate]);
        Self::with(builder, &server.tls_url, &server.token)
    }

    fn with(builder: reqwest::ClientBuilder, url: &str, token: &str) -> Self {
        let client = builder.no_proxy().build().expect("a client");
        Self { client, url: url.to_owned(), token: token.to_owned() }
    }

    async fn get(&self, target: &str) -> Value {
        let answer = self
            .client
            .get(format!("{}{target}", self.url))
            .bearer_auth(&self.token)
            .header("accept", "application/json")
            .send()
            .await
            .expect("an answer");
        let body = answer.bytes().await.expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Does the work of `list_rooms`.
    pub(crate) async fn list_rooms(&self, limit: u32) -> Value {
        let page = self.get(&format!("/meetings?limit={limit}")).await;
        let room = |meeting: &Value| {
            json!({
                "roomName": meeting["roomName"].as_str().map(|name| name.trim_start_matches('/')),
                "meetingUrl": meeting["roomUrl"],
                "meetingId": meeting["meetingId"],
                "startDate": meeting["startDate"],
                "endDate": meeting["endDate"],
            })
        };
        let data: Vec<Value> =
            page["results"].as_array().expect("rooms").iter().map(room).collect();
        json!({"data": data, "meta": {"nextCursor": page["cursor"]}})
    }

    /// Sends the requests of `list_meetings` for all rooms: one for the used rooms, then one for the sessions of
    /// each room, in parallel. The API has no single request for this.
    pub(crate) async fn list_meetings(&self) -> usize {
        let rooms = self.get("/insights/rooms?sortBy=lastSessionStartedAt:desc&limit=20").await;
        let rooms = rooms["results"].as_array().expect("rooms");
        let mut pages = JoinSet::new();
        for room in rooms {
            let name = room["roomName"].as_str().expect("a name").to_owned();
            let own = self.clone();
            pages.spawn(async move {
                let query = format!("roomName={name}&sortBy=startedAt:desc&limit=20");
                own.get(&format!("/insights/room-sessions?{query}")).await
            });
        }
        let pages = pages.join_all().await;
        pages.iter().map(|page| page["results"].as_array().expect("sessions").len()).sum()
    }
}
