//! The API of an account: the only origin that its token is sent to.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use std::fmt;
use std::sync::Arc;
use url::{Host, Url};

/// The base URL of an API: scheme, authority, and the path before the paths of requests.
#[derive(Clone, Debug, Eq)]
pub struct ApiBase {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at the end.
    path: String,
    loopback: bool,
    setting: Option<Arc<Setting>>,
}

/// The source of a value, which hints name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The variable, or the key in a file.
    pub(crate) name: String,
    /// The file and the line of a key.
    pub(crate) place: Option<String>,
}

impl PartialEq for ApiBase {
    /// Whether both are the same API, whatever their sources.
    fn eq(&self, other: &ApiBase) -> bool {
        (&self.scheme, &self.authority, &self.path)
            == (&other.scheme, &other.authority, &other.path)
    }
}

impl Default for ApiBase {
    /// Returns Whereby's API, `https://api.whereby.dev/v1`.
    fn default() -> Self {
        Self {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static("api.whereby.dev"),
            path: "/v1".into(),
            loopback: false,
            setting: None,
        }
    }
}

impl ApiBase {
    /// Reads an https URL, or an http URL of a loopback address.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| {
            format!("not a URL ({error}); use a URL such as https://api.whereby.dev/v1")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not have a user name or a password".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the URL must not have a query or a fragment".into());
        }
        let host = url.host().ok_or("the URL has no host")?;
        // Only addresses count, because a name such as localhost depends on the resolver.
        let loopback = match host {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(_) => false,
        };
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" if loopback => Scheme::HTTP,
            "http" => {
                return Err("use https; http is only for loopback addresses, such as \
                            http://127.0.0.1:8080/v1 (not for names such as localhost)"
                    .into());
            }
            _ => return Err("it must begin with https://".into()),
        };
        let authority = Authority::try_from(url.authority())
            .map_err(|_| format!("the URL has an invalid host: {host}"))?;
        let path = url.path().trim_end_matches('/').to_owned();
        if !path.is_empty() && PathAndQuery::try_from(path.as_str()).is_err() {
            return Err("the URL has an invalid path".into());
        }
        Ok(Self { scheme, authority, path, loopback, setting: None })
    }

    /// Records the variable or key that set it.
    pub(crate) fn set_by(self, name: impl Into<String>, place: Option<String>) -> Self {
        Self { setting: Some(Arc::new(Setting { name: name.into(), place })), ..self }
    }

    /// Returns the variable or key that set it, if any.
    pub(crate) fn setting(&self) -> Option<&Setting> {
        self.setting.as_deref()
    }

    /// Returns what to change to use another API.
    pub(crate) fn set_with(&self) -> &str {
        self.setting().map_or("the account's api_url", |setting| &setting.name)
    }

    /// Whether it is Whereby's origin.
    #[must_use]
    pub fn is_whereby(&self) -> bool {
        let own = Self::default();
        self.scheme == own.scheme && self.authority == own.authority
    }

    /// Whether it is a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether requests go over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Returns the host, and the port if the URL has one.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns the host.
    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    /// Returns the port of the URL, or the default port of its scheme.
    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Returns the scheme and authority, as in an `Origin` header.
    #[must_use]
    pub fn origin(&self) -> String {
        [self.scheme.as_str(), "://", self.authority()].concat()
    }

    /// Returns the URI of a request, from its path relative to the base and its query.
    pub(crate) fn uri_of(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        // Without parsing the origin for each request.
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query([self.path.as_str(), path_and_query].concat())
            .build()
    }

    /// Returns the path of a component's target relative to the base, or `None` unless the target begins
    /// with exactly this origin and base.
    pub(crate) fn relative_path<'a>(&self, target: &'a Uri) -> Option<&'a str> {
        let same = target.scheme() == Some(&self.scheme)
            && target.authority().map(Authority::as_str) == Some(self.authority.as_str());
        let path = target.path().strip_prefix(self.path.as_str())?;
        (same && path.starts_with('/')).then_some(path)
    }
}

impl fmt::Display for ApiBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.scheme.as_str(), "://", self.authority(), &self.path] {
            f.write_str(part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_of_a_request_is_the_base_and_its_path_and_query() {
        for base in
            ["https://api.whereby.dev/v1", "http://127.0.0.1:8080", "https://a.example/b%20c"]
        {
            let api = ApiBase::parse(base).expect(base);
            for written in ["/meetings", "/meetings?limit=2&cursor=a%2Fb%3F", "/meetings/90-a_B"] {
                let uri = api.uri_of(written).expect(written);
                assert_eq!(uri.to_string(), format!("{base}{written}"));
            }
        }
        let uri = ApiBase::default().uri_of("/meetings").expect("a URI");
        assert_eq!(uri, "https://api.whereby.dev/v1/meetings");
    }

    #[test]
    fn only_https_and_loopback_are_accepted() {
        for (text, shown, loopback) in [
            ("https://api.whereby.dev/v1", "https://api.whereby.dev/v1", false),
            ("https://API.whereby.dev:443/v1/", "https://api.whereby.dev/v1", false),
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", true),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("http://2130706433/v1", "http://127.0.0.1/v1", true),
        ] {
            let base = ApiBase::parse(text).expect(text);
            assert_eq!((base.to_string().as_str(), base.is_loopback()), (shown, loopback));
        }
        for text in [
            "",
            "api.whereby.dev",
            "http://api.whereby.dev/v1",
            "http://localhost:8080/v1",
            "http://127.0.0.1.example.com/v1",
            "http://0.0.0.0/v1",
            "https://user:secret@api.whereby.dev/v1",
            "https://api.whereby.dev/v1?x=1",
            "https://api.whereby.dev/v1#x",
            "ftp://127.0.0.1/v1",
            "file:///etc/passwd",
        ] {
            let error = ApiBase::parse(text).expect_err(text);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_target_begins_exactly_with_the_base() {
        let base = ApiBase::parse("http://127.0.0.1:8080/v1").expect("good");
        let relative = |target: &str| {
            let target: Uri = target.parse().expect(target);
            base.relative_path(&target).map(str::to_owned)
        };
        assert_eq!(
            relative("http://127.0.0.1:8080/v1/meetings?limit=1").as_deref(),
            Some("/meetings")
        );
        for target in [
            "https://127.0.0.1:8080/v1/meetings",
            "http://127.0.0.1/v1/meetings",
            "http://127.0.0.1:8081/v1/meetings",
            "http://127.1:8080/v1/meetings",
            "http://user@127.0.0.1:8080/v1/meetings",
            "http://127.0.0.1:8080/v2/meetings",
            "http://127.0.0.1:8080/meetings",
            "http://127.0.0.1:8080/v1",
            "http://127.0.0.1:8080/v11/meetings",
            "http://127.0.0.1:8080//v1/meetings",
            "/v1/meetings",
        ] {
            assert_eq!(relative(target), None, "{target}");
        }
        assert_eq!(
            relative("http://127.0.0.1:8080/v1//x").as_deref(),
            Some("//x"),
            "for the grant to refuse"
        );
    }
}
