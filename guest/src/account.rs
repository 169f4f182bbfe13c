//! Shows which organization the API key belongs to.

use alloc::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::date::Moment;
use crate::error::{accept, unexpected};
use crate::prelude::*;
use crate::response::{self, Names};
use crate::room_name::host_and_name;
use crate::settings::Settings;
use crate::transport::{Request, Transport, send};
use crate::types::{CurrentUser, Error};

const GET_MEETINGS: &str = "GET /meetings";

const ROOM_MEMBERS: Names = &["roomUrl"];

/// The `exp` of a key that never expires: the largest safe integer of JavaScript.
const NEVER: u64 = (1 << 53) - 1;

/// Reads the claims of the key, and checks that Whereby accepts it.
pub(crate) fn get_current_user(
    transport: &mut dyn Transport,
    settings: &Settings,
) -> Result<CurrentUser, Error> {
    let mut request = Request::get("/meetings?limit=1");
    request.wants_rate_limit = true;
    let reply = accept(GET_MEETINGS, send(transport, request))?;
    let page = response::page(GET_MEETINGS, &reply.body, ROOM_MEMBERS, None)?;
    let first = page.rows.first();
    let url = first.map(|room| room.as_ref().map_err(String::clone)?.required_text("roomUrl"));
    let url = url.transpose().map_err(|what| unexpected(GET_MEETINGS, &what))?;
    let claims = Claims::of(settings);
    let source = match claims {
        Some(_) => "the claims of the API key, which were not verified",
        None => "nothing: the API key has no claims that can be read",
    };
    let claims = claims.unwrap_or_default();
    Ok(CurrentUser {
        name: None,
        email: None,
        plan: None,
        unavailable: ["name", "email", "plan"].map(str::to_owned).to_vec(),
        unavailable_reason:
            "Whereby's API keys belong to an organization and not to a person, and \
                             its API has no profiles."
                .to_owned(),
        organization_id: claims.organization_id,
        key_issued_at: claims.issued.map(Moment::format),
        key_expires: claims.expires.map(Moment::format),
        source: source.to_owned(),
        authenticated: true,
        subdomain: url.and_then(subdomain),
        rate_limit: reply.rate_limit,
    })
}

/// The claims of a key. They are unverified: only Whereby can check its signature.
#[derive(Default)]
struct Claims {
    organization_id: Option<String>,
    issued: Option<Moment>,
    expires: Option<Moment>,
}

impl Claims {
    /// Reads the claims. Returns `None` if the key is unknown here or is not a JWT; Whereby does not promise
    /// one.
    fn of(settings: &Settings) -> Option<Self> {
        let json = match (&settings.token, &settings.key_claims) {
            (Some(token), _) => Cow::Owned(jwt_payload(token)?),
            (None, Some(claims)) => Cow::Borrowed(claims.as_bytes()),
            (None, None) => return None,
        };
        let claims = response::object(&json, &["organizationId", "iat", "exp"]).ok()?;
        // A claim of an unexpected type counts as absent.
        let moment = |name| {
            let seconds = claims.whole(name).ok().flatten().filter(|seconds| *seconds != NEVER)?;
            Moment::from_unix(seconds, 0)
        };
        Some(Self {
            organization_id: claims.id("organizationId").ok().flatten(),
            issued: moment("iat"),
            expires: moment("exp"),
        })
    }
}

fn jwt_payload(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    match parts.next() {
        Some(_) => None,
        None => URL_SAFE_NO_PAD.decode(payload).ok(),
    }
}

/// Returns the organization's subdomain from a room's URL.
fn subdomain(url: &str) -> Option<String> {
    let (host, _) = host_and_name(url)?;
    let label = host.strip_suffix(".whereby.com")?;
    (!label.is_empty() && !label.contains('.')).then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::get_current_user;
    use crate::prelude::*;
    use crate::settings::Settings;
    use crate::transport::fake::Fake;
    use crate::transport::{Method, Reply};
    use crate::types::{CurrentUser, Error, RateLimit};

    const PROBE: &str = "/meetings?limit=1";
    const NONE: &str = r#"{"results":[],"cursor":null}"#;

    fn token(claims: &str) -> Settings {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        Settings { token: Some(token), ..Settings::default() }
    }

    fn user(settings: &Settings) -> CurrentUser {
        let mut fake = Fake::script([(Method::Get, PROBE, 200, NONE)]);
        let user = get_current_user(&mut fake, settings).unwrap();
        assert!(fake.requests[0].wants_rate_limit);
        user
    }

    #[test]
    fn the_claims_of_the_key_are_shown() {
        let json = r#"{"organizationId":4711,"iat":1767225600,"exp":9007199254740991,"jti":"x"}"#;
        let claims = Settings { key_claims: Some(json.to_owned()), ..Settings::default() };
        for settings in [token(json), claims] {
            let user = user(&settings);
            assert_eq!(user.organization_id.as_deref(), Some("4711"));
            assert_eq!(user.key_issued_at.as_deref(), Some("2026-01-01T00:00:00Z"));
            assert_eq!(user.key_expires, None, "the key never expires");
            assert!(user.source.contains("not verified"));
            assert!(user.authenticated);
            assert_eq!((user.name, user.email, user.plan), (None, None, None));
            assert_eq!(user.unavailable, ["name", "email", "plan"]);
        }
        let user = user(&token(r#"{"organizationId":"a","exp":1767225600}"#));
        assert_eq!(user.organization_id.as_deref(), Some("a"));
        assert_eq!(user.key_expires.as_deref(), Some("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn unreadable_claims_are_absent() {
        let key = |token: &str| Settings { token: Some(token.to_owned()), ..Settings::default() };
        let odd = r#"{"organizationId":[],"iat":"x","exp":-1}"#;
        for settings in [
            Settings::default(),
            key("opaque"),
            key("a.b.c"),
            key("a.e30.c.d"),
            token("[]"),
            token(odd),
            token(r#"{"iat":1e300,"exp":253402300800}"#),
        ] {
            let user = user(&settings);
            assert_eq!(
                (user.organization_id, user.key_issued_at, user.key_expires),
                (None, None, None)
            );
        }
        assert!(user(&Settings::default()).source.starts_with("nothing"));
    }

    #[test]
    fn the_probe_shows_the_subdomain_and_the_rate_limit() {
        for (url, expected) in [
            ("https://acme.whereby.com/x", Some("acme")),
            ("https://a.b.whereby.com/x", None),
            ("https://.whereby.com/x", None),
            ("https://rooms.example.com/x", None),
            ("http://127.0.0.1/x", None),
        ] {
            let rate_limit = Some(RateLimit { limit: Some(100), remaining: None });
            let mut fake = Fake::new(|_| {
                let body = format!(r#"{{"results":[{{"roomUrl":"{url}"}}],"cursor":"more"}}"#);
                Ok(Reply { rate_limit, ..Fake::reply(200, &body) })
            });
            let user = get_current_user(&mut fake, &Settings::default()).unwrap();
            assert_eq!(user.subdomain.as_deref(), expected, "{url}");
            assert_eq!(user.rate_limit, rate_limit);
        }
    }

    #[test]
    fn a_refused_key_is_an_error() {
        for (status, body) in [(401, "{}"), (200, "{}"), (200, r#"{"results":[{}]}"#)] {
            let mut fake = Fake::script([(Method::Get, PROBE, status, body)]);
            let result = get_current_user(&mut fake, &Settings::default());
            match status {
                401 => assert!(matches!(result, Err(Error::Unauthorized(_)))),
                _ => assert!(matches!(result, Err(Error::UnexpectedResponse(_))), "{body}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(text in "\\PC{0,60}", claims in any::<Vec<u8>>()) {
            let mut fake = Fake::new(|_| Ok(Fake::reply(200, NONE)));
            let signed = format!("x.{}.x", URL_SAFE_NO_PAD.encode(claims));
            for token in [text, signed] {
                let settings = Settings { token: Some(token), ..Settings::default() };
                prop_assert!(get_current_user(&mut fake, &settings).is_ok());
            }
        }
    }
}
