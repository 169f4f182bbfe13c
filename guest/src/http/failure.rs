//! What the error codes of `wasi:http` mean for a request; pure.

use wasi::http::types::ErrorCode;

use crate::error::clean;
use crate::prelude::*;
use crate::transport::{Failure, FailureKind};

/// Why an attempt has no answer.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) failure: Failure,
    /// Whether it was the connection, so that another attempt may do better.
    pub(super) is_connection: bool,
}

impl Stop {
    /// A failure of the connection.
    pub(super) fn connection(kind: FailureKind, text: &str, maybe_sent: bool) -> Self {
        let failure = Failure { kind, text: text.to_owned(), maybe_sent };
        Self { failure, is_connection: true }
    }

    /// A failure that would only happen again.
    pub(super) fn other(kind: FailureKind, text: &str, maybe_sent: bool) -> Self {
        Self { is_connection: false, ..Self::connection(kind, text, maybe_sent) }
    }
}

/// What an error code means. Whether the request may have been sent is a matter of proof: only what
/// happens before there is a connection proves that it was not.
pub(super) fn from_error_code(code: ErrorCode) -> Stop {
    use FailureKind::{Denied, Timeout, Unavailable, Unreadable};
    match code {
        ErrorCode::DnsTimeout => {
            Stop::connection(Timeout, "Whereby's host name was not resolved in time", false)
        }
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => Stop::connection(
            Unavailable,
            "Whereby's host name could not be resolved: check the network, its DNS and its proxy",
            false,
        ),
        ErrorCode::ConnectionRefused => {
            Stop::connection(Unavailable, "the connection was refused", false)
        }
        ErrorCode::ConnectionTimeout => {
            Stop::connection(Timeout, "the connection was not made in time", false)
        }
        ErrorCode::DestinationUnavailable | ErrorCode::ConnectionLimitReached => {
            Stop::connection(Unavailable, "there is no connection to Whereby", false)
        }
        // Hosts give the last one for a connection that was closed, too.
        ErrorCode::ConnectionTerminated
        | ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpProtocolError => {
            Stop::connection(Unavailable, "the connection failed before the answer came", true)
        }
        ErrorCode::DestinationIpUnroutable => {
            Stop::other(Unavailable, "there is no route to Whereby", false)
        }
        ErrorCode::ConfigurationError => {
            Stop::other(Unavailable, "the host is not set up to reach Whereby", false)
        }
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Stop::other(Denied, "the host does not allow this request", false)
        }
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Stop::other(Timeout, "no answer came in time", true),
        ErrorCode::TlsCertificateError => {
            Stop::other(Unavailable, "Whereby's certificate is not trusted", false)
        }
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => {
            Stop::other(Unavailable, "the secure connection failed", true)
        }
        ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => {
            Stop::other(Unreadable, "the answer is larger than the host takes", true)
        }
        ErrorCode::HttpResponseTransferCoding(coding)
        | ErrorCode::HttpResponseContentCoding(coding) => {
            let coding = coding.map(|coding| format!(": it is encoded as {}", clean(&coding)));
            let text = format!("the host could not read the answer{}", coding.unwrap_or_default());
            Stop::other(Unreadable, &text, true)
        }
        ErrorCode::InternalError(Some(text)) => Stop::other(
            Unavailable,
            &format!("the host failed to send the request: {}", clean(&text)),
            true,
        ),
        _ => Stop::other(Unavailable, "the host failed to send the request", true),
    }
}

#[cfg(test)]
mod tests {
    use wasi::http::types::ErrorCode;

    use super::from_error_code;
    use crate::transport::FailureKind::{Denied, Timeout, Unavailable, Unreadable};

    #[test]
    fn each_code_has_its_meaning() {
        for (code, kind, is_connection, maybe_sent) in [
            (ErrorCode::ConnectionRefused, Unavailable, true, false),
            (ErrorCode::DestinationNotFound, Unavailable, true, false),
            (ErrorCode::DnsTimeout, Timeout, true, false),
            (ErrorCode::ConnectionTimeout, Timeout, true, false),
            (ErrorCode::ConnectionTerminated, Unavailable, true, true),
            (ErrorCode::ConnectionReadTimeout, Timeout, false, true),
            (ErrorCode::HttpResponseTimeout, Timeout, false, true),
            (ErrorCode::HttpRequestDenied, Denied, false, false),
            (ErrorCode::DestinationIpProhibited, Denied, false, false),
            (ErrorCode::DestinationUnavailable, Unavailable, true, false),
            (ErrorCode::HttpResponseIncomplete, Unavailable, true, true),
            (ErrorCode::HttpProtocolError, Unavailable, true, true),
            (ErrorCode::TlsCertificateError, Unavailable, false, false),
            (ErrorCode::TlsProtocolError, Unavailable, false, true),
            (ErrorCode::ConfigurationError, Unavailable, false, false),
            (ErrorCode::HttpResponseContentCoding(None), Unreadable, false, true),
            (ErrorCode::HttpResponseBodySize(None), Unreadable, false, true),
            (ErrorCode::InternalError(None), Unavailable, false, true),
            (ErrorCode::LoopDetected, Unavailable, false, true),
        ] {
            let stop = from_error_code(code.clone());
            assert_eq!(
                (stop.failure.kind, stop.is_connection, stop.failure.maybe_sent),
                (kind, is_connection, maybe_sent),
                "{code:?}"
            );
        }
    }

    #[test]
    fn the_text_of_a_host_is_cleaned() {
        let stop = from_error_code(ErrorCode::InternalError(Some("a\nb".repeat(400))));
        assert!(!stop.failure.text.contains('\n') && stop.failure.text.len() < 600);
    }
}
