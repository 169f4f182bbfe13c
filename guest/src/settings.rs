//! Reads the environment: the base URL of Whereby's API and the key.

use crate::prelude::*;
use crate::types::Error;

/// The settings of a call.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) base: BaseUrl,
    /// The API key, sent as a bearer token. If it is absent, the host adds its own.
    pub(crate) token: Option<String>,
    /// The claims of an API key that the host keeps from this component, as JSON.
    pub(crate) key_claims: Option<String>,
}

/// The base URL of every request, split as `wasi:http` needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    /// Whether the scheme is `https` rather than `http`.
    pub(crate) secure: bool,
    pub(crate) authority: String,
    /// The path without a trailing slash, so that `/meetings` can follow.
    pub(crate) path: String,
}

impl Default for BaseUrl {
    fn default() -> Self {
        Self { secure: true, authority: "api.whereby.dev".to_owned(), path: "/v1".to_owned() }
    }
}

impl Settings {
    /// Reads the variables. An empty one counts as absent.
    pub(crate) fn from_variables(variables: Vec<(String, String)>) -> Result<Self, Error> {
        let mut settings = Self::default();
        for (name, value) in variables {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "WHEREBY_API_URL" => {
                    // The value is not shown, because it may contain a password.
                    settings.base = BaseUrl::parse(value).ok_or_else(|| {
                        Error::Unavailable(
                            "the environment variable WHEREBY_API_URL must be an http or https URL \
                             without user, query or fragment, such as https://api.whereby.dev/v1"
                                .to_owned(),
                        )
                    })?;
                }
                "WHEREBY_ACCESS_TOKEN" => {
                    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                        return Err(Error::Unauthorized(
                            "the environment variable WHEREBY_ACCESS_TOKEN contains characters \
                             that no API key has"
                                .to_owned(),
                        ));
                    }
                    settings.token = Some(value.to_owned());
                }
                "WHEREBY_KEY_CLAIMS" => settings.key_claims = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(settings)
    }
}

impl BaseUrl {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let rest = rest.strip_prefix("//")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let is_authority = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']')
        };
        let is_path =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'"');
        if authority.is_empty()
            || authority.starts_with(':')
            || !authority.bytes().all(is_authority)
            || !path.bytes().all(is_path)
        {
            return None;
        }
        Some(Self {
            secure,
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BaseUrl, Settings};
    use crate::types::Error;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from_variables(
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        )
    }

    #[test]
    fn an_empty_environment_selects_whereby_without_a_token() {
        for variables in [&[][..], &[("WHEREBY_API_URL", ""), ("WHEREBY_ACCESS_TOKEN", " ")][..]] {
            let settings = settings(variables).unwrap();
            assert_eq!(settings.base, BaseUrl::default());
            assert_eq!(settings.token, None);
            assert_eq!(settings.key_claims, None);
        }
    }

    #[test]
    fn base_urls_are_split() {
        for (url, secure, authority, path) in [
            ("https://api.whereby.dev/v1", true, "api.whereby.dev", "/v1"),
            ("https://api.whereby.dev/v1//", true, "api.whereby.dev", "/v1"),
            ("HTTP://127.0.0.1:8080", false, "127.0.0.1:8080", ""),
            ("http://[::1]:8080/", false, "[::1]:8080", ""),
        ] {
            let base = settings(&[("WHEREBY_API_URL", url)]).unwrap().base;
            let expected =
                BaseUrl { secure, authority: authority.to_owned(), path: path.to_owned() };
            assert_eq!(base, expected, "{url}");
        }
    }

    #[test]
    fn a_malformed_base_url_is_named_but_not_shown() {
        for url in [
            "api.whereby.dev/v1",
            "ftp://api.whereby.dev",
            "https://",
            "https://:80",
            "https:///v1",
            "https://me:hunter2@api.whereby.dev",
            "https://api.whereby.dev?x=1",
            "https://api.whereby.dev/v1?x=1",
            "https://api.whereby.dev/v1#x",
            "https://api.whereby.dev/v 1",
            "https://caf\u{e9}.dev",
        ] {
            let Err(Error::Unavailable(text)) = settings(&[("WHEREBY_API_URL", url)]) else {
                panic!("{url} was accepted");
            };
            assert!(text.contains("WHEREBY_API_URL"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused_but_not_shown() {
        let Err(Error::Unauthorized(text)) = settings(&[("WHEREBY_ACCESS_TOKEN", "hun\nter2")])
        else {
            panic!("it was accepted");
        };
        assert!(!text.contains("ter2"), "{text}");
        let taken = settings(&[("WHEREBY_ACCESS_TOKEN", " abc\n"), ("WHEREBY_KEY_CLAIMS", "{}")]);
        let taken = taken.unwrap();
        assert_eq!(
            (taken.token.as_deref(), taken.key_claims.as_deref()),
            (Some("abc"), Some("{}"))
        );
    }
}
