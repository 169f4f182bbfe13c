//! Converts the error codes of `wasi:http`; pure.

use wasi::http::types::ErrorCode;

use crate::error::clean;
use crate::prelude::*;
use crate::transport::{SendError, SendErrorKind};

/// The error of an attempt that got no response.
#[derive(Debug)]
pub(super) struct AttemptError {
    pub(super) failure: SendError,
    /// Whether the connection failed, so that another attempt may succeed.
    pub(super) is_connection: bool,
}

impl AttemptError {
    /// Returns the error for a failed connection.
    pub(super) fn connection(kind: SendErrorKind, text: &str, maybe_sent: bool) -> Self {
        let failure = SendError { kind, text: text.to_owned(), maybe_sent };
        Self { failure, is_connection: true }
    }

    /// Returns an error that would happen again.
    pub(super) fn other(kind: SendErrorKind, text: &str, maybe_sent: bool) -> Self {
        Self { is_connection: false, ..Self::connection(kind, text, maybe_sent) }
    }
}

/// Converts an error code. Only an error before the connection is made proves that the request was not
/// sent.
pub(super) fn from_error_code(code: ErrorCode) -> AttemptError {
    use SendErrorKind::{Denied, Timeout, Unavailable, Unreadable};
    let (connection, other) = (AttemptError::connection, AttemptError::other);
    match code {
        ErrorCode::DnsTimeout => {
            connection(Timeout, "Whereby's host name was not resolved in time", false)
        }
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => connection(
            Unavailable,
            "Whereby's host name could not be resolved: check the network, its DNS and its proxy",
            false,
        ),
        ErrorCode::ConnectionRefused => {
            connection(Unavailable, "the connection was refused", false)
        }
        ErrorCode::ConnectionTimeout => {
            connection(Timeout, "the connection was not made in time", false)
        }
        ErrorCode::DestinationUnavailable | ErrorCode::ConnectionLimitReached => {
            connection(Unavailable, "no connection to Whereby is available", false)
        }
        // Hosts also use the last one for a closed connection.
        ErrorCode::ConnectionTerminated
        | ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpProtocolError => {
            connection(Unavailable, "the connection failed before the response arrived", true)
        }
        ErrorCode::DestinationIpUnroutable => {
            other(Unavailable, "there is no route to Whereby", false)
        }
        ErrorCode::ConfigurationError => {
            other(Unavailable, "the host is not set up to reach Whereby", false)
        }
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            other(Denied, "the host does not allow this request", false)
        }
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => other(Timeout, "no response arrived in time", true),
        ErrorCode::TlsCertificateError => {
            other(Unavailable, "Whereby's certificate is not trusted", false)
        }
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => {
            other(Unavailable, "the secure connection failed", true)
        }
        ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => {
            other(Unreadable, "the response is larger than the host accepts", true)
        }
        ErrorCode::HttpResponseTransferCoding(coding)
        | ErrorCode::HttpResponseContentCoding(coding) => {
            let coding = coding.map(|coding| format!(": it is encoded as {}", clean(&coding)));
            let text =
                format!("the host could not read the response{}", coding.unwrap_or_default());
            other(Unreadable, &text, true)
        }
        ErrorCode::InternalError(Some(text)) => other(
            Unavailable,
            &format!("the host failed to send the request: {}", clean(&text)),
            true,
        ),
        _ => other(Unavailable, "the host failed to send the request", true),
    }
}

#[cfg(test)]
mod tests {
    use wasi::http::types::ErrorCode;

    use super::from_error_code;
    use crate::transport::SendErrorKind::{Denied, Timeout, Unavailable, Unreadable};

    #[test]
    fn each_code_is_converted() {
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
            let error = from_error_code(code.clone());
            assert_eq!(
                (error.failure.kind, error.is_connection, error.failure.maybe_sent),
                (kind, is_connection, maybe_sent),
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_message_from_the_host_is_cleaned() {
        let error = from_error_code(ErrorCode::InternalError(Some("a\nb".repeat(400))));
        assert!(!error.failure.text.contains('\n') && error.failure.text.len() < 600);
    }
}
