//! A minimal HTTP client that shows everything that the simulator sends.

use std::io::ErrorKind;

use serde_json::Value;
use tokio::net::TcpStream;

use super::super::Simulator;

/// A persistent connection.
pub(super) struct Client {
    stream: TcpStream,
    pub(super) token: String,
}

/// A response.
pub(super) struct Response {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(simulator: &Simulator) -> Self {
        let stream = TcpStream::connect(simulator.address()).await.unwrap();
        Self { stream, token: simulator.token().to_owned() }
    }

    pub(super) async fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, "").await
    }

    pub(super) async fn delete(&mut self, target: &str) -> Response {
        self.send("DELETE", target, "").await
    }

    pub(super) async fn post(&mut self, body: &Value) -> Response {
        self.send("POST", "/meetings", &body.to_string()).await
    }

    pub(super) async fn send(&mut self, method: &str, target: &str, body: &str) -> Response {
        self.write(method, target, body).await;
        self.read().await
    }

    pub(super) async fn write(&mut self, method: &str, target: &str, body: &str) {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} /v1{target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len(),
        );
        self.write_bytes(request.as_bytes()).await;
    }

    pub(super) async fn write_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.stream.writable().await.unwrap();
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(super) async fn read(&mut self) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read_some(1).await);
        }
        let head = String::from_utf8(head).unwrap();
        let mut response =
            Response { status: head[9..12].parse().unwrap(), head, body: Vec::new() };
        if let Some(length) = response.header("content-length") {
            response.body = self.read_some(length.parse().unwrap()).await;
        }
        response
    }

    /// Reads exactly this many bytes.
    pub(super) async fn read_some(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let count = self.read_into(&mut bytes[filled..]).await;
            assert_ne!(count, 0, "the connection was closed");
            filled += count;
        }
        bytes
    }

    /// Reads until the connection closes.
    pub(super) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read_into(&mut buffer).await {
                0 => return bytes,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    async fn read_into(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            self.stream.readable().await.unwrap();
            match self.stream.try_read(buffer) {
                Ok(count) => return count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns one member of each row of a list.
    pub(super) fn column(&self, name: &str) -> Vec<Value> {
        self.json()["results"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    }
}
