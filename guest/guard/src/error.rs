//! Converts the error codes of `wasi:http`.

use crate::bindings::exports::wasi::http::types as own;
use crate::bindings::wasi::http::types::ErrorCode;
use crate::guard::{Guard, Stopped};

/// Returns the code for what a rule forbids or cannot read.
pub(crate) fn from_stopped(stopped: Stopped) -> own::ErrorCode {
    match stopped {
        Stopped::Denied => own::ErrorCode::HttpRequestDenied,
        // The functions do not try again after this code.
        Stopped::Unreadable => own::ErrorCode::HttpResponseTransferCoding(None),
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
pub(crate) fn from_theirs(code: ErrorCode, guard: &Guard) -> own::ErrorCode {
    match code {
        ErrorCode::DnsTimeout => own::ErrorCode::DnsTimeout,
        ErrorCode::DnsError(_) => {
            own::ErrorCode::DnsError(own::DnsErrorPayload { rcode: None, info_code: None })
        }
        ErrorCode::DestinationNotFound => own::ErrorCode::DestinationNotFound,
        ErrorCode::DestinationUnavailable => own::ErrorCode::DestinationUnavailable,
        ErrorCode::DestinationIpProhibited => own::ErrorCode::DestinationIpProhibited,
        ErrorCode::DestinationIpUnroutable => own::ErrorCode::DestinationIpUnroutable,
        ErrorCode::ConnectionRefused => own::ErrorCode::ConnectionRefused,
        ErrorCode::ConnectionTerminated => own::ErrorCode::ConnectionTerminated,
        ErrorCode::ConnectionTimeout => own::ErrorCode::ConnectionTimeout,
        ErrorCode::ConnectionReadTimeout => own::ErrorCode::ConnectionReadTimeout,
        ErrorCode::ConnectionWriteTimeout => own::ErrorCode::ConnectionWriteTimeout,
        ErrorCode::ConnectionLimitReached => own::ErrorCode::ConnectionLimitReached,
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => {
            own::ErrorCode::TlsProtocolError
        }
        ErrorCode::TlsCertificateError => own::ErrorCode::TlsCertificateError,
        ErrorCode::HttpRequestDenied => own::ErrorCode::HttpRequestDenied,
        ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_) => own::ErrorCode::HttpRequestUriInvalid,
        ErrorCode::HttpResponseIncomplete => own::ErrorCode::HttpResponseIncomplete,
        ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => own::ErrorCode::HttpResponseBodySize(None),
        ErrorCode::HttpResponseTransferCoding(_) => {
            own::ErrorCode::HttpResponseTransferCoding(None)
        }
        ErrorCode::HttpResponseContentCoding(_) => own::ErrorCode::HttpResponseContentCoding(None),
        ErrorCode::HttpResponseTimeout => own::ErrorCode::HttpResponseTimeout,
        ErrorCode::HttpUpgradeFailed | ErrorCode::HttpProtocolError => {
            own::ErrorCode::HttpProtocolError
        }
        ErrorCode::LoopDetected => own::ErrorCode::LoopDetected,
        ErrorCode::ConfigurationError => own::ErrorCode::ConfigurationError,
        ErrorCode::InternalError(reason) => {
            let redactor = guard.settings().map(|settings| &settings.redactor);
            let shown =
                |reason: alloc::string::String| Some(redactor?.apply(reason.into()).into_owned());
            own::ErrorCode::InternalError(reason.and_then(shown))
        }
    }
}
