//! Converts the error codes of `wasi:http`.

use crate::bindings::wasi::http::types::{DnsErrorPayload, ErrorCode};
use crate::guard::{Guard, Stopped};
use crate::settings::Settings;

/// Returns the code for what a rule forbids or cannot read.
pub(crate) fn from_stopped(stopped: Stopped) -> ErrorCode {
    match stopped {
        Stopped::Denied => ErrorCode::HttpRequestDenied,
        // The functions do not try again after this code.
        Stopped::Unreadable => ErrorCode::HttpResponseTransferCoding(None),
    }
}

/// Whether a request may have been sent. Only an error before the connection is made proves that it was
/// not.
pub(crate) fn was_sent(code: &ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::DnsTimeout
            | ErrorCode::DnsError(_)
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionLimitReached
            | ErrorCode::TlsCertificateError
            | ErrorCode::HttpRequestDenied
            | ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestUriTooLong
            | ErrorCode::ConfigurationError
    )
}

/// Converts a code of the runtime. What it says in words is left out, except for the reason of an internal
/// error, without the key.
pub(crate) fn from_theirs(code: ErrorCode, guard: &Guard) -> ErrorCode {
    match code {
        ErrorCode::DnsError(_) => {
            ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None })
        }
        ErrorCode::TlsAlertReceived(_) => ErrorCode::TlsProtocolError,
        ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_) => ErrorCode::HttpRequestUriInvalid,
        ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => ErrorCode::HttpResponseBodySize(None),
        ErrorCode::HttpResponseTransferCoding(_) => ErrorCode::HttpResponseTransferCoding(None),
        ErrorCode::HttpResponseContentCoding(_) => ErrorCode::HttpResponseContentCoding(None),
        ErrorCode::HttpUpgradeFailed => ErrorCode::HttpProtocolError,
        ErrorCode::InternalError(reason) => {
            let redactor = guard.settings().map(Settings::redactor);
            let shown =
                |reason: alloc::string::String| Some(redactor?.apply(reason.into()).into_owned());
            ErrorCode::InternalError(reason.and_then(shown))
        }
        // The others say nothing in words.
        other => other,
    }
}
