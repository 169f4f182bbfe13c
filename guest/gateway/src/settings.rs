//! What the environment sets.

use crate::prelude::*;
use subtle::{Choice, ConstantTimeEq as _};

/// The variable with the token that each request brings.
const TOKEN: &str = "WHEREBY_GATEWAY_TOKEN";

/// The variable that allows writes.
const ALLOW_WRITES: &str = "WHEREBY_GATEWAY_ALLOW_WRITES";

/// The variable with the origins whose requests are taken.
const ALLOWED_ORIGINS: &str = "WHEREBY_GATEWAY_ALLOWED_ORIGINS";

/// The least length of the token, in characters.
const SHORTEST_TOKEN: usize = 16;

/// The settings, which have all been understood.
pub(crate) struct Settings {
    token: Token,
    /// Whether the tools that change something are offered.
    pub(crate) allow_writes: bool,
    allowed_origins: Vec<String>,
}

/// A bearer token.
struct Token(String);

impl Settings {
    /// Reads the variables; an empty one counts as absent. The error says what to set.
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
        let token = token.ok_or_else(|| format!("{TOKEN} is not set: {}", how_to_make_one()))?;
        Ok(Self { token, allow_writes, allowed_origins })
    }

    /// Whether a request with these values of `Authorization` brings the token.
    pub(crate) fn admits_authorization(&self, values: &[&[u8]]) -> bool {
        // Of several it would not be clear which counts.
        let [value] = values else { return false };
        let Some((scheme, rest)) = value.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.token.is(rest.trim_ascii())
    }

    /// Whether requests of this origin are taken.
    pub(crate) fn admits_origin(&self, origin: &[u8]) -> bool {
        self.allowed_origins.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(origin))
    }
}

impl Token {
    fn parse(value: &str) -> Result<Self, String> {
        // The value is not shown, also where it is none.
        if value.len() < SHORTEST_TOKEN {
            let how = how_to_make_one();
            return Err(format!("{TOKEN} is shorter than {SHORTEST_TOKEN} characters: {how}"));
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{TOKEN} has characters other than visible ASCII ones"));
        }
        Ok(Self(value.to_owned()))
    }

    /// Whether this is the token. How long that takes depends on what was given alone.
    fn is(&self, given: &[u8]) -> bool {
        let mut is_same: Choice = given.len().ct_eq(&self.0.len());
        for (given, own) in given.iter().zip(self.0.as_bytes().iter().cycle()) {
            is_same &= given.ct_eq(own);
        }
        is_same.into()
    }
}

/// An origin as browsers send it: scheme, host and port, without a slash at its end.
fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https")
            && !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic())
            && !host.contains(['/', '?', '#', '@', '*', '\\'])
    });
    match is_origin {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{ALLOWED_ORIGINS} must be origins such as https://app.example, with commas between"
        )),
    }
}

fn how_to_make_one() -> String {
    "make one with: openssl rand -hex 32".to_owned()
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
    fn without_a_good_token_there_are_no_settings() {
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
    fn writes_are_off_and_switched_on_by_one_word_alone() {
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
    fn the_token_is_taken_in_one_form_alone() {
        let settings = settings(&[("WHEREBY_GATEWAY_TOKEN", TOKEN)]).expect("good");
        for (value, is_taken) in [
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
            assert_eq!(settings.admits_authorization(&[value.as_bytes()]), is_taken, "{value}");
        }
        let good = "Bearer 0123456789abcdef".as_bytes();
        assert!(!settings.admits_authorization(&[]));
        assert!(!settings.admits_authorization(&[good, good]));
        assert!(!settings.admits_authorization(&[b"Bearer \xff\xfe"]));
    }

    #[test]
    fn origins_are_named_one_by_one() {
        let with = |value| {
            settings(&[
                ("WHEREBY_GATEWAY_TOKEN", TOKEN),
                ("WHEREBY_GATEWAY_ALLOWED_ORIGINS", value),
            ])
        };
        let two = with("https://app.example, http://localhost:3000").expect("good");
        for (origin, is_taken) in [
            ("https://app.example", true),
            ("HTTPS://APP.EXAMPLE", true),
            ("http://localhost:3000", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(two.admits_origin(origin.as_bytes()), is_taken, "{origin}");
        }
        for value in ["*", "app.example", "https://", "https://app.example/", "https://a,", "null"]
        {
            assert!(with(value).is_err(), "{value}");
        }
        assert!(!with("").expect("none").admits_origin(b"https://app.example"));
    }
}
