//! The exit statuses of the program.

use crate::error::Error;
use whereby_authority::grant::WriteOutcome;

/// An exit status. `--help` shows them as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded.
    Success = 0,
    /// The program itself failed.
    Internal = 1,
    /// The command line or an argument is wrong.
    Usage = 2,
    /// The configuration or a credential is wrong.
    Configuration = 3,
    /// The policy denied the call.
    Denied = 4,
    /// A person must approve the call first.
    ApprovalRequired = 5,
    /// Whereby refused the request, or did not find the object.
    Refused = 6,
    /// Whereby's rate limit is exceeded.
    RateLimited = 7,
    /// The network failed, or the time limit was exceeded.
    Unavailable = 8,
    /// The component failed, or broke a rule.
    ComponentFault = 9,
    /// The call failed, and its write happened or may have happened.
    Written = 10,
    /// The user stopped the program: 128 + SIGINT.
    Interrupted = 130,
    /// The system or a service manager stopped the program: 128 + SIGTERM.
    Terminated = 143,
    /// The terminal was closed: 128 + SIGHUP.
    HungUp = 129,
}

impl Exit {
    /// The table for `--help`.
    pub(crate) const TABLE: &str = "\
Exit status:
  0  success                       5  approval required
  1  internal failure              6  Whereby refused or did not find it
  2  usage or invalid argument     7  rate limited
  3  configuration or credentials  8  network or timeout
  4  denied by policy              9  the component failed or broke a rule
 10  the call failed, but its write happened or may have: check before you repeat it";

    /// Returns the status for an error.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        if matches!(error, Error::Interrupted) {
            return Self::Interrupted;
        }
        match error.kind() {
            "usage" | "invalid-argument" => Self::Usage,
            "configuration" | "unauthorized" => Self::Configuration,
            "denied" => Self::Denied,
            "approval-required" => Self::ApprovalRequired,
            "access-denied" | "not-found" | "rejected" => Self::Refused,
            "rate-limited" => Self::RateLimited,
            "timeout" | "unavailable" | "unexpected-response" => Self::Unavailable,
            "component-fault" => Self::ComponentFault,
            _ => Self::Internal,
        }
    }

    /// Returns the status for a failed call. Scripts repeat a call after 7 or 8, so a call whose write
    /// happened or may have happened has its own status.
    #[must_use]
    pub fn of_call(error: &Error, write: WriteOutcome) -> Self {
        match Self::of(error) {
            Self::Interrupted => Self::Interrupted,
            _ if write != WriteOutcome::None => Self::Written,
            exit => exit,
        }
    }

    /// Returns the number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_wit_has_a_status() {
        for case in whereby_catalog::ERROR.cases {
            let error = crate::docs::error_of(case);
            assert_ne!(Exit::of(&error), Exit::Internal, "{}", case.json);
            assert_eq!(Exit::of_call(&error, WriteOutcome::None), Exit::of(&error));
            for write in [WriteOutcome::Unknown, WriteOutcome::Done] {
                assert_eq!(Exit::of_call(&error, write).code(), 10, "{}", case.json);
            }
        }
    }
}
