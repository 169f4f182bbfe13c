//! `NO_PROXY`: the hosts that are reached without a proxy.

use ipnet::IpNet;
use std::net::IpAddr;
use url::Host;

/// The value of `NO_PROXY`.
#[derive(Debug, Default)]
pub(crate) struct NoProxy(Vec<Exception>);

#[derive(Debug)]
struct Exception {
    hosts: Hosts,
    /// Any port if absent.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    Network(IpNet),
    /// The hosts below a domain in lower case, and the domain itself if the flag is set.
    Domain(String, bool),
}

impl NoProxy {
    /// Reads the entries, and also returns the invalid ones.
    ///
    /// Entries have the forms of curl and Go: `*`, `host`, `.domain`, `*.domain`, an IP address, or a
    /// network such as `10.0.0.0/8`, separated by commas or spaces, each optionally with `:port`. A name
    /// also covers the hosts below it; `*.domain` covers only those.
    pub(crate) fn parse(text: &str) -> (Self, Vec<&str>) {
        let (mut valid, mut others) = (Vec::new(), Vec::new());
        let words = text.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            match Exception::parse(word) {
                Some(exception) => valid.push(exception),
                None => others.push(word),
            }
        }
        (Self(valid), others)
    }

    /// Whether a host is reached without the proxy at this port.
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        self.0.iter().any(|exception| {
            let covers_host = match &exception.hosts {
                Hosts::All => true,
                Hosts::Network(network) => {
                    address.is_some_and(|address| network.contains(&address))
                }
                Hosts::Domain(domain, itself) => {
                    let head = host.strip_suffix(domain.as_str());
                    head.is_some_and(|head| head.ends_with('.') || head.is_empty() && *itself)
                }
            };
            covers_host && exception.port.is_none_or(|only| only == port)
        })
    }
}

impl Exception {
    fn parse(word: &str) -> Option<Self> {
        let (hosts, port) = match word.rsplit_once(':') {
            // An IPv6 address without brackets.
            Some((before, _)) if before.contains(':') && !before.ends_with(']') => (word, None),
            Some((hosts, port)) => {
                let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
                (hosts, Some(port))
            }
            None => (word, None),
        };
        Some(Self { hosts: Hosts::parse(hosts)?, port })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        if let Ok(network) = bare.parse::<IpNet>() {
            return Some(Self::Network(network));
        }
        let (name, itself) = match text.strip_prefix("*.") {
            Some(name) => (name, false),
            None => (text.strip_prefix('.').unwrap_or(text), true),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        // Rejects incomplete addresses such as 10.0.
        match Host::parse(name).ok()? {
            Host::Domain(domain) if !domain.contains('*') => Some(Self::Domain(domain, itself)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_read_as_curl_and_go_read_them() {
        let api = ("api.example.com", 443);
        for (no_proxy, (host, port), covered) in [
            ("", api, false),
            ("*", api, true),
            ("*", ("127.0.0.1", 8080), true),
            ("*", ("[::1]", 443), true),
            ("api.example.com", api, true),
            ("API.Example.COM.", api, true),
            ("example.com", api, true),
            (".example.com", api, true),
            (".example.com", ("example.com", 443), true),
            ("*.example.com", api, true),
            ("*.example.com", ("example.com", 443), false),
            ("ple.com", api, false),
            ("other.com,example.com", api, true),
            ("other.com example.com", api, true),
            (" other.com , example.com ", api, true),
            ("example.com:443", api, true),
            ("example.com:8443", api, false),
            ("*:8443", ("api.example.com", 8443), true),
            ("127.0.0.1:8080", ("127.0.0.1", 8080), true),
            ("127.0.0.1:8080", ("127.0.0.1", 8081), false),
            ("127.0.0.1", ("127.0.0.1", 8081), true),
            ("127.0.0.0/8", ("127.9.9.9", 443), true),
            ("127.0.0.0/8", ("api.example.com", 443), false),
            ("10.0.0.0/8", ("127.0.0.1", 443), false),
            ("::1", ("[::1]", 443), true),
            ("[::1]", ("[::1]", 443), true),
            ("[::1]:8080", ("[::1]", 8080), true),
            ("[::1]:8080", ("[::1]", 443), false),
            ("fd00::/8", ("[fd12::1]", 443), true),
            ("localhost", ("localhost", 443), true),
            ("localhost", ("127.0.0.1", 443), false),
        ] {
            let (exceptions, others) = NoProxy::parse(no_proxy);
            assert_eq!(others, [""; 0], "{no_proxy}");
            assert_eq!(exceptions.covers(host, port), covered, "{no_proxy}: {host}:{port}");
        }
    }

    #[test]
    fn invalid_entries_have_no_effect_and_are_returned() {
        for word in [
            "https://example.com",
            "example.com/path",
            "exa*mple.com",
            "10.*",
            "10.0.0.",
            "10.0",
            "10.0.0.0/99",
            "example.com:port",
            "example.com:0",
            "<local>",
            "[::1",
            ".",
            "*.",
            ":8080",
        ] {
            let (exceptions, others) = NoProxy::parse(word);
            assert_eq!(others, [word]);
            assert!(!exceptions.covers("example.com", 443), "{word}");
            assert!(!exceptions.covers("10.0.0.1", 443), "{word}");
        }
    }
}
