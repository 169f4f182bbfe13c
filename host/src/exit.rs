//! The exit statuses of the program.

use crate::error::Error;
use whereby_authority::grant::WriteOutcome;

/// How the program ends. `--help` documents them as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Success = 0,
    /// It failed by itself.
    Internal = 1,
    /// The command line or an argument is wrong.
    Usage = 2,
    /// The configuration or a credential is wrong.
    Configuration = 3,
    /// The policy denied it.
    Denied = 4,
    /// A person has to approve it first.
    ApprovalRequired = 5,
    /// Whereby refused it, or did not find it.
    Refused = 6,
    /// Whereby's rate limit is used up.
    RateLimited = 7,
    /// The network failed, or the time was up.
    Unavailable = 8,
    /// The component failed, or broke a rule.
    ComponentFault = 9,
    /// The call failed, and its write happened or may have happened.
    Written = 10,
    /// The user stopped it, as shells say it of SIGINT.
    Interrupted = 130,
    /// The system or a service manager stopped it, as shells say it of SIGTERM.
    Terminated = 143,
    /// Its terminal was closed, as shells say it of SIGHUP.
    HungUp = 129,
}

impl Exit {
    /// What each status means, for `--help`.
    pub(crate) const TABLE: &str = "\
Exit status:
  0  success                       5  approval required
  1  internal failure              6  Whereby refused or did not find it
  2  usage or invalid argument     7  rate limited
  3  configuration or credentials  8  network, or out of time
  4  denied by policy              9  the component failed or broke a rule
 10  the call failed, but its write happened or may have: look before you repeat it";

    /// The status that an error ends with.
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

    /// The status that a failed call ends with. Scripts repeat a call that ended with 7 or 8, so one
    /// whose write may have happened has a status of its own, whatever failed.
    #[must_use]
    pub fn of_call(error: &Error, write: WriteOutcome) -> Self {
        match Self::of(error) {
            Self::Interrupted => Self::Interrupted,
            _ if write != WriteOutcome::None => Self::Written,
            exit => exit,
        }
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_wit_has_its_status() {
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
