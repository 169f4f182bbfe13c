//! Reads the settings from environment variables.

use crate::prelude::*;
use subtle::{Choice, ConstantTimeEq as _};

/// The variable with the token that each request must send.
const TOKEN: &str = "WHEREBY_GATEWAY_TOKEN";

/// The variable that allows writes.
const ALLOW_WRITES: &str = "WHEREBY_GATEWAY_ALLOW_WRITES";

/// The variable with the origins whose requests are accepted.
const ALLOWED_ORIGINS: &str = "WHEREBY_GATEWAY_ALLOWED_ORIGINS";

/// The minimum length of the token, in characters.
const MIN_TOKEN_LENGTH: usize = 16;

/// The settings.
pub(crate) struct Settings {
    token: Token,
    /// Whether to offer the tools that write.
    pub(crate) allow_writes: bool,
    allowed_origins: Vec<String>,
}

/// A bearer token.
struct Token(String);

impl Settings {
    /// Reads the variables. An empty one counts as absent. The error says what to set.
    pub(crate) fn from_variables(variables: Vec<(String, String)>) -> Result<Self, String> {
        let (mut token, mut allow_writes, mut allowed_origins) = (None, false, Vec::new());
        for (name, value) in variables {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                TOKEN => token = Some(Token::parse(value)?),
                ALLOW_WRITES => {
                    allow_writes = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(format!("{ALLOW_WRITES} must be true or false")),
                    }
                }
                ALLOWED_ORIGINS => {
                    allowed_origins = value.split(',').map(origin).collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        let token = token.ok_or_else(|| format!("{TOKEN} is not set: {}", how_to_generate()))?;
        Ok(Self { token, allow_writes, allowed_origins })
    }

    /// Returns whether a request with these `Authorization` headers has the token.
    pub(crate) fn admits_authorization(&self, values: &[&[u8]]) -> bool {
        // With several headers, it would be unclear which one counts.
        let [value] = values else { return false };
        let Some((scheme, rest)) = value.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.token.is(rest.trim_ascii())
    }

    /// Returns whether requests from this origin are accepted.
    pub(crate) fn admits_origin(&self, origin: &[u8]) -> bool {
        self.allowed_origins.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(origin))
    }
}

impl Token {
    fn parse(value: &str) -> Result<Self, String> {
        // The messages do not show the value, even if it is invalid.
        if value.len() < MIN_TOKEN_LENGTH {
            let how = how_to_generate();
            return Err(format!("{TOKEN} is shorter than {MIN_TOKEN_LENGTH} characters: {how}"));
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{TOKEN} must contain only visible ASCII characters"));
        }
        Ok(Self(value.to_owned()))
    }

    /// Returns whether this is the token. The time depends only on the given bytes.
    fn is(&self, given: &[u8]) -> bool {
        let mut is_same: Choice = given.len().ct_eq(&self.0.len());
        for (given, own) in given.iter().zip(self.0.as_bytes().iter().cycle()) {
            is_same &= given.ct_eq(own);
        }
        is_same.into()
    }
}

/// Parses an origin as browsers send it: scheme, host and port, without a trailing slash.
fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https")
            && !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic())
            && !host.contains(['/', '?', '#', '@', '*', '\\'])
    });
    if is_origin {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{ALLOWED_ORIGINS} must be comma-separated origins such as https://app.example"
        ))
    }
}

fn how_to_generate() -> String {
    "generate one with: openssl rand -hex 32".to_owned()
}

#[cfg(test)]
mod tests {
    use super::Settings;

    const TOKEN: &str = "0123456789abcdef";

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from_variables(
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        )
    }

    #[test]
    fn a_valid_token_is_required() {
        for (value, said) in [
            ("", "not set"),
            ("   ", "not set"),
            ("0123456789abcde", "shorter than 16"),
            ("0123456789 abcdef", "visible ASCII"),
            ("0123456789abcdé", "visible ASCII"),
        ] {
            let error = settings(&[("WHEREBY_GATEWAY_TOKEN", value)]).err().expect(value);
            assert!(error.starts_with("WHEREBY_GATEWAY_TOKEN") && error.contains(said), "{error}");
            assert!(value.trim().is_empty() || !error.contains(value), "{error}");
        }
        assert!(settings(&[]).is_err());
        assert!(settings(&[("WHEREBY_ACCESS_TOKEN", TOKEN)]).is_err());
    }

    #[test]
    fn only_true_switches_writes_on() {
        let with = |value| {
            settings(&[("WHEREBY_GATEWAY_TOKEN", TOKEN), ("WHEREBY_GATEWAY_ALLOW_WRITES", value)])
                .map(|settings| settings.allow_writes)
        };
        assert_eq!(with(""), Ok(false));
        assert_eq!(with("false"), Ok(false));
        assert_eq!(with(" true\n"), Ok(true));
        for value in ["1", "yes", "TRUE", "True", "on", "true false"] {
            let error = with(value).expect_err(value);
            assert_eq!(error, "WHEREBY_GATEWAY_ALLOW_WRITES must be true or false");
        }
    }

    #[test]
    fn the_token_is_accepted_only_as_a_bearer_token() {
        let settings = settings(&[("WHEREBY_GATEWAY_TOKEN", TOKEN)]).expect("valid settings");
        for (value, is_accepted) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0123456789abcdef", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(settings.admits_authorization(&[value.as_bytes()]), is_accepted, "{value}");
        }
        let good = "Bearer 0123456789abcdef".as_bytes();
        assert!(!settings.admits_authorization(&[]));
        assert!(!settings.admits_authorization(&[good, good]));
        assert!(!settings.admits_authorization(&[b"Bearer \xff\xfe"]));
    }

    #[test]
    fn origins_are_compared_exactly() {
        let with = |value| {
            settings(&[
                ("WHEREBY_GATEWAY_TOKEN", TOKEN),
                ("WHEREBY_GATEWAY_ALLOWED_ORIGINS", value),
            ])
        };
        let two = with("https://app.example, http://localhost:3000").expect("valid settings");
        for (origin, is_accepted) in [
            ("https://app.example", true),
            ("HTTPS://APP.EXAMPLE", true),
            ("http://localhost:3000", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(two.admits_origin(origin.as_bytes()), is_accepted, "{origin}");
        }
        for value in ["*", "app.example", "https://", "https://app.example/", "https://a,", "null"]
        {
            assert!(with(value).is_err(), "{value}");
        }
        assert!(!with("").expect("valid settings").admits_origin(b"https://app.example"));
    }
}
